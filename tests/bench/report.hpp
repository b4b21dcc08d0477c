/// What a benchmark found: a table for people, JSON for programs, an SVG for documents.
#pragma once

#include <string>
#include <vector>

namespace viaduct::bench {

/// Samples of one thing, in the order in which they were taken; at least one.
struct Series {
    std::string group;  // what is compared: its series share an axis and a unit
    std::string label;  // whose samples these are
    std::string unit;
    std::vector<double> samples;

    [[nodiscard]] double min() const;
    [[nodiscard]] double median() const;
    /// Of fewer than a hundred samples the greatest.
    [[nodiscard]] double p99() const;
    [[nodiscard]] double max() const;
};

/// A promise, and whether it was kept: `value` at most, or at least, `limit`.
struct Bar {
    enum class Bound { at_most, at_least };

    std::string what;
    double value;
    Bound bound;
    double limit;
    std::string unit;

    [[nodiscard]] bool kept() const noexcept {
        return bound == Bound::at_most ? value <= limit : value >= limit;
    }
    [[nodiscard]] std::string text() const;
};

struct Report {
    std::string name;                // of the files
    std::string title;               // one line
    std::vector<std::string> notes;  // the conditions
    std::vector<Series> series;
    std::vector<Bar> bars;

    void print() const;
    /// Writes DIRECTORY/NAME.json and DIRECTORY/NAME.svg; the directory is made when it is missing.
    void write(const std::string& directory) const;
    [[nodiscard]] bool all_kept() const;
};

}  // namespace viaduct::bench
