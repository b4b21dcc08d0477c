#include "vmm/ctl/top_rows.hpp"

#include <algorithm>

#include "vmm/ctl/table.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

/// What a queue did between two samples.
struct Activity {
    TopRow row;
    Histogram latency;
};

/// A column of numbers: where it stands in the row and in the counters.
struct Rate {
    std::optional<double> TopRow::*shown;
    std::optional<std::uint64_t> QueueCounters::*counted;
};

constexpr std::array rates{
    Rate{&TopRow::reads, &QueueCounters::reads},
    Rate{&TopRow::writes, &QueueCounters::writes},
    Rate{&TopRow::bytes_read, &QueueCounters::bytes_read},
    Rate{&TopRow::bytes_written, &QueueCounters::bytes_written},
    Rate{&TopRow::throttled, &QueueCounters::throttled_ns},
    Rate{&TopRow::kicks, &QueueCounters::kicks},
    Rate{&TopRow::interrupts, &QueueCounters::interrupts},
};

std::optional<double> per_second(std::optional<std::uint64_t> before,
                                 std::optional<std::uint64_t> after, double seconds) {
    if (!before || !after || *after < *before) return std::nullopt;
    return static_cast<double>(*after - *before) / seconds;
}

const QueueCounters* find_queue(const Sample& sample, const std::string& device,
                                std::uint64_t index) {
    const auto found = std::ranges::find(sample.devices, device, &DeviceCounters::id);
    if (found == sample.devices.end()) return nullptr;
    const auto queue = std::ranges::find(found->queues, index, &QueueCounters::index);
    return queue != found->queues.end() ? &*queue : nullptr;
}

void set_latency(TopRow& row, const Histogram& latency) {
    row.p50 = percentile(latency, 0.5);
    row.p99 = percentile(latency, 0.99);
}

Activity activity_of(const DeviceCounters& device, const QueueCounters& after,
                     const QueueCounters* before, double seconds) {
    Activity activity;
    activity.row.device = device.id;
    activity.row.path = device.path;
    activity.row.queue = after.index;
    // On the fast path nobody counts: its standing counters would read as idleness.
    if (before == nullptr || device.path != "slow") return activity;
    for (const auto& [shown, counted] : rates) {
        activity.row.*shown = per_second(before->*counted, after.*counted, seconds);
    }
    activity.latency = difference(after.latency, before->latency);
    set_latency(activity.row, activity.latency);
    return activity;
}

void add_to_total(Activity& total, const Activity& part) {
    for (const auto& [shown, counted] : rates) {
        if (const auto value = part.row.*shown) {
            total.row.*shown = (total.row.*shown).value_or(0) + *value;
        }
    }
    total.latency = sum(total.latency, part.latency);
}

std::string cell(std::optional<double> value, std::string (*format)(double)) {
    return value ? format(*value) : "-";
}

std::string size_rate(double bytes) {
    return format_size(bytes) + "/s";
}

std::string time_rate(double nanoseconds) {
    return format_nanoseconds(nanoseconds) + "/s";
}

json::value json_number(std::optional<double> value) {
    return value ? json::value(*value) : json::value(nullptr);
}

}  // namespace

std::vector<TopRow> rows_between(const Sample& before, const Sample& after) {
    const double seconds = std::chrono::duration<double>(after.when - before.when).count();
    std::vector<TopRow> rows;
    for (const DeviceCounters& device : after.devices) {
        Activity total;
        total.row.device = device.id;
        total.row.path = device.path;
        std::vector<TopRow> parts;
        for (const QueueCounters& queue : device.queues) {
            const auto activity =
                activity_of(device, queue, find_queue(before, device.id, queue.index), seconds);
            add_to_total(total, activity);
            parts.push_back(activity.row);
        }
        set_latency(total.row, total.latency);
        rows.push_back(total.row);
        if (parts.size() > 1) rows.insert(rows.end(), parts.begin(), parts.end());
    }
    return rows;
}

std::string top_table(const std::vector<TopRow>& rows) {
    Table table({{"device"},
                 {"queue", Align::right},
                 {"path"},
                 {"reads/s", Align::right},
                 {"writes/s", Align::right},
                 {"read", Align::right},
                 {"written", Align::right},
                 {"p50", Align::right},
                 {"p99", Align::right},
                 {"throttled", Align::right},
                 {"kicks/s", Align::right},
                 {"irqs/s", Align::right}});
    for (const TopRow& row : rows) {
        table.add({row.device, row.queue ? std::to_string(*row.queue) : "all", row.path,
                   cell(row.reads, format_rate), cell(row.writes, format_rate),
                   cell(row.bytes_read, size_rate), cell(row.bytes_written, size_rate),
                   cell(row.p50, format_nanoseconds), cell(row.p99, format_nanoseconds),
                   cell(row.throttled, time_rate), cell(row.kicks, format_rate),
                   cell(row.interrupts, format_rate)});
    }
    return table.empty() ? "" : table.text();
}

json::array top_json(const std::vector<TopRow>& rows) {
    json::array list;
    for (const TopRow& row : rows) {
        list.push_back({{"device", row.device},
                        {"queue", row.queue ? json::value(*row.queue) : json::value(nullptr)},
                        {"path", row.path},
                        {"reads-per-second", json_number(row.reads)},
                        {"writes-per-second", json_number(row.writes)},
                        {"bytes-read-per-second", json_number(row.bytes_read)},
                        {"bytes-written-per-second", json_number(row.bytes_written)},
                        {"p50-ns", json_number(row.p50)},
                        {"p99-ns", json_number(row.p99)},
                        {"throttled-ns-per-second", json_number(row.throttled)},
                        {"kicks-per-second", json_number(row.kicks)},
                        {"interrupts-per-second", json_number(row.interrupts)}});
    }
    return list;
}

}  // namespace viaduct::ctl
