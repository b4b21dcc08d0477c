#include <optional>
#include <utility>

#include <boost/json/array.hpp>

#include "vmm/control/commands/commands.hpp"
#include "vmm/control/commands/shapes.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;
using datapath::Disk;
using datapath::GuestDevice;
using datapath::QueueRecord;
using datapath::QueueStatistics;
using datapath::RequestKind;

json::object inserted(const GuestDevice& guest, const Disk& disk) {
    json::object medium{{"file", guest.path()},
                        {"node-name", guest.id()},
                        {"ro", disk.read_only},
                        {"drv", "vdpa"},
                        {"encrypted", false},
                        {"backing_file_depth", 0},
                        {"detect_zeroes", "off"},
                        {"write_threshold", 0},
                        {"active", true},
                        {"cache", {{"writeback", true}, {"direct", true}, {"no-flush", false}}},
                        {"image",
                         {{"filename", guest.path()},
                          {"format", "raw"},
                          {"virtual-size", disk.size},
                          {"dirty-flag", false}}}};
    const auto group = guest.throttle_group();
    const auto limits = group ? group->limits() : datapath::ThrottleLimits();
    for (auto& [name, value] : describe(limits)) medium[name] = std::move(value);
    if (limits.any()) medium["group"] = group->name();
    return medium;
}

json::value query_block(const vmm::Machine& machine) {
    json::array disks;
    for (const auto& device : machine.devices()) {
        const GuestDevice& guest = device->guest_device;
        const auto disk = guest.disk();
        if (!disk) continue;
        disks.push_back({{"device", guest.id()},
                         {"qdev", guest.id()},
                         {"type", "unknown"},
                         {"removable", false},
                         {"locked", false},
                         {"inserted", inserted(guest, *disk)}});
    }
    return disks;
}

/// A kind of request and what QEMU calls it.
struct Kind {
    RequestKind kind;
    const char* name;
};
constexpr std::array kinds{Kind{RequestKind::read, "rd"}, Kind{RequestKind::write, "wr"},
                           Kind{RequestKind::flush, "flush"}, Kind{RequestKind::discard, "unmap"}};

template <typename Value>
std::uint64_t sum(std::span<const QueueRecord* const> records, Value&& value) {
    std::uint64_t total = 0;
    for (const QueueRecord* record : records) total += value(record->statistics);
    return total;
}

/// bins[i] counts boundaries[i - 1] <= ns < boundaries[i]. Nothing when nothing was counted: of a
/// disk with many queues these are most of the answer.
std::optional<json::object> histogram_of(std::span<const QueueRecord* const> records,
                                         RequestKind kind) {
    json::array boundaries;
    json::array bins;
    boundaries.reserve(LatencyHistogram::bins);
    bins.reserve(LatencyHistogram::bins);
    std::uint64_t counted = 0;
    for (unsigned bin = 0; bin < LatencyHistogram::bins; ++bin) {
        const std::uint64_t count =
            sum(records, [&](const QueueStatistics& queue) { return queue.of(kind).latency[bin]; });
        if (bin != 0) boundaries.push_back(LatencyHistogram::lower_bound(bin));
        bins.push_back(count);
        counted += count;
    }
    if (counted == 0) return std::nullopt;
    return json::object{{"boundaries", std::move(boundaries)}, {"bins", std::move(bins)}};
}

json::object statistics_of(std::span<const QueueRecord* const> records) {
    json::object statistics;
    for (const Kind& each : kinds) {
        const RequestKind kind = each.kind;
        const std::string name = each.name;
        const auto total = [&](auto member) {
            return sum(records, [&](const QueueStatistics& queue) {
                return (queue.of(kind).*member).value();
            });
        };
        using datapath::RequestStatistics;
        statistics[name + "_operations"] = total(&RequestStatistics::operations);
        statistics[name + "_bytes"] = total(&RequestStatistics::bytes);
        statistics[name + "_total_time_ns"] = total(&RequestStatistics::nanoseconds);
        statistics["failed_" + name + "_operations"] = total(&RequestStatistics::failed);
        statistics["invalid_" + name + "_operations"] = 0;
        statistics[name + "_merged"] = 0;
        if (auto histogram = histogram_of(records, kind)) {
            statistics[name + "_latency_histogram"] = *std::move(histogram);
        }
    }
    const auto total = [&](auto member) {
        return sum(records, [&](const QueueStatistics& queue) { return (queue.*member).value(); });
    };
    statistics["throttled_requests"] = total(&QueueStatistics::throttled_requests);
    statistics["throttled_time_ns"] = total(&QueueStatistics::throttled_nanoseconds);
    statistics["account_invalid"] = false;
    statistics["account_failed"] = true;
    statistics["wr_highest_offset"] = 0;
    statistics["timed_stats"] = json::array();
    return statistics;
}

/// Each device is the only node of its disk, and bears its name.
json::value query_blockstats(const vmm::Machine& machine, bool by_node) {
    json::array all;
    for (const auto& device : machine.devices()) {
        const GuestDevice& guest = device->guest_device;
        if (!guest.disk()) continue;
        std::vector<const QueueRecord*> records;
        json::array queues;
        for (const QueueRecord& record : guest.records()) {
            records.push_back(&record);
            const QueueRecord* const one = &record;
            queues.push_back(
                {{"index", queues.size()}, {"stats", statistics_of(std::span(&one, 1))}});
        }
        json::object disk{{"node-name", guest.id()},
                          {"stats", statistics_of(records)},
                          {"queues", std::move(queues)}};
        if (!by_node) {
            disk["device"] = guest.id();
            disk["qdev"] = guest.id();
        }
        all.push_back(std::move(disk));
    }
    return all;
}

}  // namespace

void add_block_commands(CommandTable& table, const vmm::Machine& machine) {
    table.add({.name = "query-block",
               .doc = "The disks: what stands behind each, its size and its limits.",
               .returns = block_devices_shape(),
               .run = [&](const Arguments&) { return query_block(machine); }});
    table.add(
        {.name = "query-blockstats",
         .doc = "What each disk has done on the slow path, by kind of request, altogether and "
                "by queue. On the fast path nobody sees the requests.",
         .parameters = {{.name = "query-nodes",
                         .type = ArgumentType::boolean,
                         .doc = "by node-name alone, which is a disk's id; false by default",
                         .need = Need::optional}},
         .returns = block_statistics_shape(),
         .run = [&](const Arguments& arguments) {
             return query_blockstats(machine, arguments.find<bool>("query-nodes").value_or(false));
         }});
}

}  // namespace viaduct::control
