#include "vmm/ctl/histogram.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "vmm/ctl/reply.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

/// Empty unless all are numbers.
std::vector<std::uint64_t> numbers(const json::value& list) {
    std::vector<std::uint64_t> numbers;
    for (const json::value& element : elements(list)) {
        json::error_code failed;
        numbers.push_back(element.to_number<std::uint64_t>(failed));
        if (failed) return {};
    }
    return numbers;
}

}  // namespace

Histogram histogram_of(const json::value& reply) {
    Histogram histogram{.boundaries = numbers(member(reply, "boundaries")),
                        .bins = numbers(member(reply, "bins"))};
    if (histogram.bins.size() != histogram.boundaries.size() + 1) return {};
    return histogram;
}

Histogram difference(const Histogram& after, const Histogram& before) {
    if (before.bins.empty()) return after;
    if (after.boundaries != before.boundaries || after.bins.size() != before.bins.size()) return {};
    Histogram between{.boundaries = after.boundaries, .bins = {}};
    for (std::size_t i = 0; i < after.bins.size(); ++i) {
        if (after.bins[i] < before.bins[i]) return {};
        between.bins.push_back(after.bins[i] - before.bins[i]);
    }
    return between;
}

Histogram sum(const Histogram& left, const Histogram& right) {
    if (left.boundaries != right.boundaries || left.bins.size() != right.bins.size()) {
        return left.bins.empty() ? right : left;
    }
    Histogram both = left;
    std::ranges::transform(left.bins, right.bins, both.bins.begin(), std::plus<>{});
    return both;
}

std::optional<double> percentile(const Histogram& histogram, double fraction) {
    const auto& [boundaries, bins] = histogram;
    const auto total =
        static_cast<double>(std::accumulate(bins.begin(), bins.end(), std::uint64_t{0}));
    if (total == 0) return std::nullopt;
    const double wanted = fraction * total;
    double below = 0;
    for (std::size_t i = 0; i < boundaries.size(); ++i) {
        const auto count = static_cast<double>(bins[i]);
        if (count != 0 && below + count >= wanted) {
            const double from = i == 0 ? 0 : static_cast<double>(boundaries[i - 1]);
            const double length = static_cast<double>(boundaries[i]) - from;
            return from + length * std::max(wanted - below, 0.0) / count;
        }
        below += count;
    }
    return boundaries.empty() ? 0 : static_cast<double>(boundaries.back());
}

}  // namespace viaduct::ctl
