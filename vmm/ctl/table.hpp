/// Aligned columns for people: titles, rows, two spaces between, nothing at a line's end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace viaduct::ctl {

enum class Align { left, right };

struct Column {
    std::string title;
    Align align = Align::left;
};

class Table {
public:
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// A cell a column; those left out are empty.
    void add(std::vector<std::string> cells);

    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }

    /// Whole lines, the titles first.
    [[nodiscard]] std::string text() const;

private:
    [[nodiscard]] std::vector<std::size_t> widths() const;

    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// Names and values one below the other, no titles: for one thing with many properties.
[[nodiscard]] std::string property_list(
    const std::vector<std::pair<std::string, std::string>>& properties);

/// How many columns of a terminal a UTF-8 text takes, where each character takes one.
[[nodiscard]] std::size_t width_of(std::string_view text) noexcept;

/// With '?' for each control character: what a machine says must not command the terminal.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace viaduct::ctl
