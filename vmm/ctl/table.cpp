#include "vmm/ctl/table.hpp"

#include <algorithm>
#include <utility>

namespace viaduct::ctl {
namespace {

constexpr std::size_t gap = 2;

std::string line_of(const std::vector<std::string>& cells, const std::vector<Column>& columns,
                    const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string padding(widths[i] - width_of(cells[i]), ' ');
        if (i != 0) line.append(gap, ' ');
        line += columns[i].align == Align::right ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + '\n';
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
    cells.resize(columns_.size());
    for (std::string& cell : cells) cell = printable(cell);
    rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths() const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        std::size_t width = width_of(columns_[i].title);
        for (const auto& row : rows_) width = std::max(width, width_of(row[i]));
        widths.push_back(width);
    }
    return widths;
}

std::string Table::text() const {
    std::vector<std::string> titles;
    for (const Column& column : columns_) titles.push_back(column.title);
    const auto widths = this->widths();
    std::string text = line_of(titles, columns_, widths);
    for (const auto& row : rows_) text += line_of(row, columns_, widths);
    return text;
}

std::string property_list(const std::vector<std::pair<std::string, std::string>>& properties) {
    std::size_t width = 0;
    for (const auto& [name, value] : properties) width = std::max(width, width_of(name));
    std::string text;
    for (const auto& [name, value] : properties) {
        text += name + std::string(width - width_of(name) + gap, ' ') + printable(value) + '\n';
    }
    return text;
}

std::size_t width_of(std::string_view text) noexcept {
    // Every byte but the continuations, which are 10xxxxxx.
    const auto starts = [](char byte) {
        return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80;
    };
    return static_cast<std::size_t>(std::ranges::count_if(text, starts));
}

std::string printable(std::string_view text) {
    std::string shown(text);
    std::ranges::replace_if(
        shown, [](unsigned char byte) { return byte < ' ' || byte == 0x7f; }, '?');
    return shown;
}

}  // namespace viaduct::ctl
