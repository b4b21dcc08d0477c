#include "vmm/ctl/top_sample.hpp"

#include <algorithm>

#include "vmm/ctl/reply.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

/// Of that device's element in query-blockstats.
const json::value& block_queue(const json::value& blocks, const std::string& device,
                               std::uint64_t index) {
    static const json::value nothing;
    for (const json::value& block : elements(blocks)) {
        if (text(block, "qdev") != device && text(block, "device") != device) continue;
        for (const json::value& queue : elements(member(block, "queues"))) {
            if (number(queue, "index") == index) return member(queue, "stats");
        }
    }
    return nothing;
}

QueueCounters queue_counters(const json::value& queue, const json::value& stats) {
    const json::value& counters = member(queue, "counters");
    return {.index = number(queue, "index").value_or(0),
            .reads = number(stats, "rd_operations"),
            .writes = number(stats, "wr_operations"),
            .bytes_read = number(stats, "rd_bytes"),
            .bytes_written = number(stats, "wr_bytes"),
            .latency = sum(histogram_of(member(stats, "rd_latency_histogram")),
                           histogram_of(member(stats, "wr_latency_histogram"))),
            .throttled_ns = number(counters, "throttled-ns"),
            .kicks = number(counters, "kicks"),
            .interrupts = number(counters, "interrupts")};
}

}  // namespace

Sample sample_of(std::chrono::steady_clock::time_point when, const json::value& vdpa,
                 const json::value& blocks) {
    Sample sample{.when = when, .devices = {}};
    for (const json::value& device : elements(vdpa)) {
        DeviceCounters counters{
            .id = text(device, "id"), .path = text(device, "datapath"), .queues = {}};
        for (const json::value& queue : elements(member(device, "queues"))) {
            // A queue that the guest has not set up would be a row of nothing.
            if (!flag(queue, "ready")) continue;
            const auto index = number(queue, "index").value_or(0);
            counters.queues.push_back(
                queue_counters(queue, block_queue(blocks, counters.id, index)));
        }
        sample.devices.push_back(std::move(counters));
    }
    return sample;
}

}  // namespace viaduct::ctl
