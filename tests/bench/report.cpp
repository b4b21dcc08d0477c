#include "tests/bench/report.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/chart.hpp"

namespace viaduct::bench {
namespace {

std::vector<double> sorted(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values;
}

boost::json::object describe(const Series& series) {
    return {{"group", series.group},
            {"label", series.label},
            {"unit", series.unit},
            {"min", series.min()},
            {"median", series.median()},
            {"p99", series.p99()},
            {"max", series.max()},
            {"samples", boost::json::array(series.samples.begin(), series.samples.end())}};
}

boost::json::object describe(const Bar& bar) {
    return {{"what", bar.what},
            {"value", bar.value},
            {"bound", bar.bound == Bar::Bound::at_most ? "at most" : "at least"},
            {"limit", bar.limit},
            {"unit", bar.unit},
            {"kept", bar.kept()}};
}

std::string to_json(const Report& report) {
    boost::json::array series;
    for (const Series& one : report.series) series.push_back(describe(one));
    boost::json::array bars;
    for (const Bar& bar : report.bars) bars.push_back(describe(bar));
    return boost::json::serialize(
        boost::json::object{{"name", report.name},
                            {"title", report.title},
                            {"notes", boost::json::array(report.notes.begin(), report.notes.end())},
                            {"series", std::move(series)},
                            {"bars", std::move(bars)}});
}

void write_file(const std::filesystem::path& path, const std::string& text) {
    std::ofstream file(path);
    file << text << '\n';
    file.close();
    if (!file)
        throw Error("cannot write {}: is the directory writable, the disk full?", path.string());
}

}  // namespace

double Series::min() const {
    return *std::min_element(samples.begin(), samples.end());
}
double Series::max() const {
    return *std::max_element(samples.begin(), samples.end());
}
double Series::median() const {
    const auto values = sorted(samples);
    const auto middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Series::p99() const {
    return sorted(samples)[samples.size() * 99 / 100];
}

std::string Bar::text() const {
    return fmt::format("{}  {}: {:.6g} {} ({} {:.6g})", kept() ? "PASS" : "FAIL", what, value, unit,
                       bound == Bound::at_most ? "at most" : "at least", limit);
}

void Report::print() const {
    fmt::print("{}\n", title);
    for (const std::string& note : notes) fmt::print("  {}\n", note);
    fmt::print("\n{:<50} {:<23} {:>5} {:>9} {:>9} {:>9} {:>9}  unit\n", "", "", "runs", "min",
               "median", "p99", "max");
    for (const Series& one : series) {
        fmt::print("{:<50} {:<23} {:>5} {:>9.5g} {:>9.5g} {:>9.5g} {:>9.5g}  {}\n", one.group,
                   one.label, one.samples.size(), one.min(), one.median(), one.p99(), one.max(),
                   one.unit);
    }
    fmt::print("\n");
    for (const Bar& bar : bars) fmt::print("{}\n", bar.text());
}

void Report::write(const std::string& directory) const {
    std::filesystem::create_directories(directory);
    const auto base = std::filesystem::path(directory) / name;
    write_file(base.string() + ".json", to_json(*this));
    write_file(base.string() + ".svg", draw(*this));
}

bool Report::all_kept() const {
    return std::all_of(bars.begin(), bars.end(), [](const Bar& bar) { return bar.kept(); });
}

}  // namespace viaduct::bench
