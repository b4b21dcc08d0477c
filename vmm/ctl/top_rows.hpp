/// What `top` shows: what became of every queue between two samples, a second.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "vmm/ctl/top_sample.hpp"

namespace viaduct::ctl {

/// Rates are per second, latencies in nanoseconds. Nothing stands for what was not counted: on the
/// fast path all, and what has begun to be counted anew in between.
struct TopRow {
    std::string device;
    std::string path;
    std::optional<std::uint64_t> queue;  // none: all of the device's together
    std::optional<double> reads;
    std::optional<double> writes;
    std::optional<double> bytes_read;
    std::optional<double> bytes_written;
    std::optional<double> p50;
    std::optional<double> p99;
    std::optional<double> throttled;  // nanoseconds that requests waited, of all that waited
    std::optional<double> kicks;
    std::optional<double> interrupts;
};

/// For each device of the later sample a row, and one more for each queue when it has several.
[[nodiscard]] std::vector<TopRow> rows_between(const Sample& before, const Sample& after);

/// For people; no rows, no text.
[[nodiscard]] std::string top_table(const std::vector<TopRow>& rows);

/// For programs: an object a row, null for what was not counted.
[[nodiscard]] boost::json::array top_json(const std::vector<TopRow>& rows);

}  // namespace viaduct::ctl
