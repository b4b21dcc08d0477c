/// Latency histograms as QMP has them (QEMU's rule: one bin more than boundaries; bins[i] counts
/// boundaries[i - 1] <= t < boundaries[i], in nanoseconds) and what is read from them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <boost/json/value.hpp>

namespace viaduct::ctl {

struct Histogram {
    std::vector<std::uint64_t> boundaries;
    std::vector<std::uint64_t> bins;  // empty: nothing is known

    bool operator==(const Histogram&) const = default;
};

/// Of `{"boundaries": […], "bins": […]}`; empty for anything else, or when their sizes do not fit.
[[nodiscard]] Histogram histogram_of(const boost::json::value& reply);

/// What was counted between two readings, all when there was nothing before; empty when they are
/// not of one histogram, or its counting began anew in between.
[[nodiscard]] Histogram difference(const Histogram& after, const Histogram& before);

/// Both together; when their boundaries differ, the one that is not empty.
[[nodiscard]] Histogram sum(const Histogram& left, const Histogram& right);

/// The time below which the `fraction` (0.99) of those counted stayed, in nanoseconds: even spread
/// within a bin is assumed, and the last bin, which has no end, counts as its beginning. Nothing
/// when nothing was counted.
[[nodiscard]] std::optional<double> percentile(const Histogram& histogram, double fraction);

}  // namespace viaduct::ctl
