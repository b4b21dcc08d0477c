#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/table.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

/// virtio 1.2, 2.1: how far the guest's driver has come, by the last step it took.
std::string driver_state(const json::value& device) {
    const auto status = number(device, "status").value_or(0);
    if (flag(device, "needs-reset")) return "needs reset";
    if ((status & 128U) != 0) return "failed";
    if ((status & 4U) != 0) return "running";
    return status == 0 ? "none" : "starting";
}

std::string queues_in_use(const json::value& device) {
    const auto& queues = elements(member(device, "queues"));
    const auto ready = std::ranges::count_if(
        queues, [](const json::value& queue) { return flag(queue, "ready"); });
    return fmt::format("{}/{}", ready, queues.size());
}

std::string device_table(const json::array& devices) {
    Table table({{"device"},
                 {"type"},
                 {"backend"},
                 {"driver"},
                 {"policy"},
                 {"datapath"},
                 {"switchable"},
                 {"queues", Align::right}});
    for (const json::value& device : devices) {
        const json::value& switchable = member(device, "switchable");
        table.add({text(device, "id"), text(device, "device-type"), text(device, "path"),
                   driver_state(device), text(device, "policy"), text(device, "datapath"),
                   switchable.is_bool() ? (switchable.get_bool() ? "yes" : "no") : "-",
                   queues_in_use(device)});
    }
    return table.text();
}

std::string throttled_time(const json::value& counters) {
    const auto nanoseconds = number(counters, "throttled-ns");
    return nanoseconds ? format_nanoseconds(static_cast<double>(*nanoseconds)) : "-";
}

std::string traffic(const json::value& counters) {
    const auto bytes = number(counters, "bytes");
    return bytes ? format_size(static_cast<double>(*bytes)) : "-";
}

std::string queue_table(const json::array& devices) {
    Table table({{"device"},
                 {"queue", Align::right},
                 {"size", Align::right},
                 {"ready"},
                 {"kicks", Align::right},
                 {"spurious", Align::right},
                 {"batches", Align::right},
                 {"chains", Align::right},
                 {"bytes", Align::right},
                 {"interrupts", Align::right},
                 {"suppressed", Align::right},
                 {"throttled", Align::right},
                 {"for", Align::right},
                 {"faults", Align::right}});
    for (const json::value& device : devices) {
        for (const json::value& queue : elements(member(device, "queues"))) {
            const json::value& counters = member(queue, "counters");
            table.add({text(device, "id"), digits(queue, "index"), digits(queue, "size"),
                       flag(queue, "ready") ? "yes" : "no", digits(counters, "kicks"),
                       digits(counters, "spurious-kicks"), digits(counters, "batches"),
                       digits(counters, "chains"), traffic(counters),
                       digits(counters, "interrupts"), digits(counters, "interrupts-suppressed"),
                       digits(counters, "throttled-requests"), throttled_time(counters),
                       digits(counters, "faults")});
        }
    }
    return table.empty() ? "" : "\n" + table.text();
}

void show_devices(Session& session) {
    const auto reply = session.ask("query-vdpa");
    if (session.as_json()) return Session::print_json(reply);
    const json::array& devices = elements(reply);
    Session::print(devices.empty() ? "no vDPA devices\n"
                                   : device_table(devices) + queue_table(devices));
}

/// As typed; empty when it is not given.
struct Switch {
    std::string device;
    std::string mode;
    std::string timeout;
    std::string on_timeout;
};

json::object arguments_of(const Switch& wanted) {
    json::object arguments{{"id", wanted.device}, {"mode", wanted.mode}};
    if (!wanted.timeout.empty()) {
        arguments["switch-timeout"] = parse_duration("--timeout", wanted.timeout).count();
    }
    if (!wanted.on_timeout.empty()) arguments["on-timeout"] = wanted.on_timeout;
    return arguments;
}

std::string outcome(const std::string& device, const json::value& reply) {
    const std::string from = text(reply, "from");
    const std::string to = text(reply, "to");
    if (from == to) return fmt::format("{}: {} already\n", printable(device), printable(to));
    const auto blackout = static_cast<double>(number(reply, "blackout-us").value_or(0)) * 1e3;
    return fmt::format("{}: {} → {}, blackout {}, {} in flight at the start\n", printable(device),
                       printable(from), printable(to), format_nanoseconds(blackout),
                       digits(reply, "in-flight-at-start"));
}

void add_set_datapath(CLI::App& app, Command& chosen) {
    auto wanted = std::make_shared<Switch>();
    CLI::App& command = *app.add_subcommand("set-datapath", "move a device to another data path");
    command.add_option("DEVICE", wanted->device, "its id")->required();
    command
        .add_option("MODE", wanted->mode,
                    "fast: past the VMM; slow: through it; auto: slow exactly while it must")
        ->required()
        ->check(CLI::IsMember({"fast", "slow", "auto"}));
    command
        .add_option("--timeout", wanted->timeout,
                    "how long requests in flight may take to end (default 5s)")
        ->type_name("TIME");
    command
        .add_option("--on-timeout", wanted->on_timeout,
                    "then change nothing (fail, the default) or give the device up (break)")
        ->check(CLI::IsMember({"fail", "break"}));
    command.callback([wanted, &chosen] {
        chosen = [wanted, arguments = arguments_of(*wanted)](Session& session) {
            const auto reply = session.ask("vdpa-set-datapath", arguments);
            if (session.as_json()) return Session::print_json(reply);
            Session::print(outcome(wanted->device, reply));
        };
    });
}

}  // namespace

void add_vdpa_commands(CLI::App& app, Command& chosen) {
    app.add_subcommand("vdpa", "the vDPA devices, their data paths and queues")->callback([&] {
        chosen = show_devices;
    });
    add_set_datapath(app, chosen);
}

}  // namespace viaduct::ctl
