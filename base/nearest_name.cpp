#include "base/nearest_name.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace viaduct {
namespace {

std::size_t edit_distance(std::string_view from, std::string_view to) {
    // row[j]: edits from the part of `from` seen so far to the first j characters of `to`
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < to.size(); ++j) {
            const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({row[j] + 1, diagonal + 1, replaced});
        }
    }
    return row.back();
}

}  // namespace

std::string_view nearest_name(std::string_view typed, std::span<const std::string_view> names) {
    return *std::min_element(names.begin(), names.end(), [&](auto left, auto right) {
        return edit_distance(typed, left) < edit_distance(typed, right);
    });
}

}  // namespace viaduct
