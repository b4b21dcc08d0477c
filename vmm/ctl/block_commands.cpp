#include <array>
#include <memory>

#include <CLI/CLI.hpp>

#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/histogram.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/table.hpp"
#include "vmm/ctl/throttle.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

std::string size_text(const json::value& from, std::string_view name) {
    const auto bytes = number(from, name);
    return bytes ? format_size(static_cast<double>(*bytes)) : "-";
}

std::string time_text(std::optional<double> nanoseconds) {
    return nanoseconds ? format_nanoseconds(*nanoseconds) : "-";
}

void show_disks(Session& session) {
    const auto reply = session.ask("query-block");
    if (session.as_json()) return Session::print_json(reply);
    Table table({{"device"}, {"file"}, {"driver"}, {"size", Align::right}, {"access"}, {"limits"}});
    for (const json::value& block : elements(reply)) {
        const json::value& inserted = member(block, "inserted");
        table.add({text(block, "device"), text(inserted, "file"), text(inserted, "drv"),
                   size_text(member(inserted, "image"), "virtual-size"),
                   flag(inserted, "ro") ? "read-only" : "read-write", limit_summary(block)});
    }
    Session::print(table.empty() ? "no disks\n" : table.text());
}

/// A kind of request, and the part of query-blockstats' names that stands for it.
struct Operation {
    const char* word;
    const char* name;
};

constexpr std::array operations{Operation{"read", "rd"}, Operation{"write", "wr"},
                                Operation{"flush", "flush"}, Operation{"discard", "unmap"}};

void add_operations(Table& table, const std::string& device, const std::string& queue,
                    const json::value& stats) {
    for (const auto& [word, prefix] : operations) {
        const std::string name = prefix;
        const auto answered = number(stats, name + "_operations").value_or(0) +
                              number(stats, "failed_" + name + "_operations").value_or(0);
        const auto time = number(stats, name + "_total_time_ns");
        std::optional<double> mean;
        if (answered != 0 && time) {
            mean = static_cast<double>(*time) / static_cast<double>(answered);
        }
        const Histogram latency = histogram_of(member(stats, name + "_latency_histogram"));
        table.add({device, queue, word, digits(stats, name + "_operations"),
                   digits(stats, "failed_" + name + "_operations"),
                   size_text(stats, name + "_bytes"), time_text(mean),
                   time_text(percentile(latency, 0.5)), time_text(percentile(latency, 0.99))});
    }
}

std::string operation_table(const json::array& devices, bool by_queue) {
    Table table({{"device"},
                 {"queue", Align::right},
                 {"operation"},
                 {"requests", Align::right},
                 {"failed", Align::right},
                 {"bytes", Align::right},
                 {"mean", Align::right},
                 {"p50", Align::right},
                 {"p99", Align::right}});
    for (const json::value& device : devices) {
        const std::string name = text(device, "device");
        add_operations(table, name, "all", member(device, "stats"));
        if (!by_queue) continue;
        for (const json::value& queue : elements(member(device, "queues"))) {
            add_operations(table, name, digits(queue, "index"), member(queue, "stats"));
        }
    }
    return table.text();
}

std::string throttled_table(const json::array& devices) {
    Table table({{"device"}, {"throttled", Align::right}, {"for", Align::right}});
    for (const json::value& device : devices) {
        const json::value& stats = member(device, "stats");
        const auto time = number(stats, "throttled_time_ns");
        if (number(stats, "throttled_requests").value_or(0) == 0) continue;
        table.add({text(device, "device"), digits(stats, "throttled_requests"),
                   time ? format_nanoseconds(static_cast<double>(*time)) : "-"});
    }
    return table.empty() ? "" : "\n" + table.text();
}

void show_statistics(Session& session, bool by_queue) {
    const auto reply = session.ask("query-blockstats");
    if (session.as_json()) return Session::print_json(reply);
    const json::array& devices = elements(reply);
    Session::print(devices.empty() ? "no disks\n"
                                   : operation_table(devices, by_queue) + throttled_table(devices));
}

}  // namespace

void add_block_commands(CLI::App& app, Command& chosen) {
    app.add_subcommand("block", "the disks, what is behind them and their limits")->callback([&] {
        chosen = show_disks;
    });
    auto by_queue = std::make_shared<bool>(false);
    CLI::App& statistics =
        *app.add_subcommand("blockstats", "what the disks have done, and how long it took");
    statistics.footer(
        "Requests are counted on the slow path only: on the fast path nobody sees them.");
    statistics.add_flag("--queues", *by_queue, "also of each queue");
    statistics.callback([by_queue, &chosen] {
        chosen = [by_queue](Session& session) { show_statistics(session, *by_queue); };
    });
}

}  // namespace viaduct::ctl
