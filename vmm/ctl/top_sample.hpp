/// What `top` looks at: the counters of every queue at one moment, out of query-vdpa and
/// query-blockstats.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "vmm/ctl/histogram.hpp"

namespace viaduct::ctl {

/// Of one queue since its device was made. What is not counted is left out.
struct QueueCounters {
    std::uint64_t index = 0;
    std::optional<std::uint64_t> reads;
    std::optional<std::uint64_t> writes;
    std::optional<std::uint64_t> bytes_read;
    std::optional<std::uint64_t> bytes_written;
    Histogram latency;  // of reads and writes
    std::optional<std::uint64_t> throttled_ns;
    std::optional<std::uint64_t> kicks;
    std::optional<std::uint64_t> interrupts;
};

struct DeviceCounters {
    std::string id;
    std::string path;  // "idle", "fast", "slow", "broken"
    std::vector<QueueCounters> queues;
};

struct Sample {
    std::chrono::steady_clock::time_point when;
    std::vector<DeviceCounters> devices;
};

/// The replies of the two queries.
[[nodiscard]] Sample sample_of(std::chrono::steady_clock::time_point when,
                               const boost::json::value& vdpa, const boost::json::value& blocks);

}  // namespace viaduct::ctl
