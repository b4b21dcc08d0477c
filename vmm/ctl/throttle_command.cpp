#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/throttle.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

constexpr const char* help_text =
    "Without an option it shows the limits in force. Those that are not given stay as they are\n"
    "(as query-block reports them); a limit set to 0 is lifted, its burst with it. With --group "
    "the\n"
    "limits are the group's, for all its devices: --group alone joins one as it is. --off takes "
    "the\n"
    "device out of its group, whose others keep their limits. Each option is an argument of QMP's\n"
    "block_set_io_throttle. SIZE is in bytes, or with K, M or G.";

/// As typed; empty when it is not given.
struct Throttle {
    std::string device;
    std::map<std::string, std::string, std::less<>> numbers;  // by QMP's name
    std::string group;
    bool off = false;
};

enum class Kind { size, count, seconds };

std::string option_of(std::string_view name) {
    std::string option = fmt::format("--{}", name);
    std::ranges::replace(option, '_', '-');
    return option;
}

bool ends_with_length(std::string_view name) {
    return name.ends_with("_max_length");
}

Kind kind_of(std::string_view name) {
    if (ends_with_length(name)) return Kind::seconds;
    return name.starts_with("bps") || name == "iops_size" ? Kind::size : Kind::count;
}

std::uint64_t parse_number(std::string_view name, std::string_view text) {
    const std::string option = option_of(name);
    switch (kind_of(name)) {
        case Kind::size:
            return parse_size(option, text);
        case Kind::count:
            return parse_count(option, text);
        case Kind::seconds:
            break;
    }
    const auto time = parse_duration(option, text);
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    if (seconds != time) throw UsageError("{}: '{}' is not whole seconds", option, text);
    return static_cast<std::uint64_t>(seconds.count());
}

LimitChange change_of(const Throttle& typed) {
    LimitChange change{.numbers = {}, .group = typed.group};
    for (const auto& [name, text] : typed.numbers) {
        if (!text.empty()) change.numbers[name] = parse_number(name, text);
    }
    return change;
}

void show_limits(Session& session, const std::string& device) {
    const auto reply = session.ask("query-block");
    const json::array shown =
        device.empty() ? elements(reply) : json::array{block_device(reply, device)};
    if (session.as_json()) return Session::print_json(shown);
    Session::print(limit_table(shown));
}

void set_limits(Session& session, json::object arguments, const std::string& device) {
    const auto reply = session.ask("block_set_io_throttle", std::move(arguments));
    if (session.as_json()) return Session::print_json(reply);
    show_limits(session, device);
}

void carry_out(Session& session, const Throttle& typed, const LimitChange& change) {
    if (typed.off) return set_limits(session, no_limits(typed.device), typed.device);
    if (change.numbers.empty() && change.group.empty()) return show_limits(session, typed.device);
    const auto blocks = session.ask("query-block");
    const auto& before = limits_to_change(blocks, typed.device, typed.group);
    set_limits(session, changed_limits(typed.device, before, change), typed.device);
}

void check(const Throttle& typed, const LimitChange& change) {
    const bool changes = !change.numbers.empty() || !change.group.empty();
    if (typed.off && changes) throw UsageError("throttle: --off goes with no other option");
    if (typed.device.empty() && (typed.off || changes)) {
        throw UsageError("throttle: say which device (viaductctl block lists them)");
    }
}

void add_limit_options(CLI::App& command, Throttle& typed) {
    const auto add = [&](const std::string& name, const std::string& doc) {
        const Kind kind = kind_of(name);
        command.add_option(option_of(name), typed.numbers[name], doc)
            ->type_name(kind == Kind::size    ? "SIZE"
                        : kind == Kind::count ? "N"
                                              : "TIME");
    };
    for (const Limit& limit : limits) add(std::string(limit.name), std::string(limit.what));
    for (const Limit& limit : limits) {
        add(fmt::format("{}_max", limit.name),
            fmt::format("bursts of {} up to this", option_of(limit.name)));
    }
    for (const Limit& limit : limits) {
        add(fmt::format("{}_max_length", limit.name),
            fmt::format("how long such a burst may last (default 1s)"));
    }
    add("iops_size", "a larger request counts as several, one for each so many bytes");
}

}  // namespace

void add_throttle_command(CLI::App& app, Command& chosen) {
    auto typed = std::make_shared<Throttle>();
    CLI::App& command = *app.add_subcommand("throttle", "limit a disk's requests and bytes");
    command.footer(help_text);
    command.add_option("DEVICE", typed->device, "its id");
    add_limit_options(command, *typed);
    command.add_option("--group", typed->group, "share the limits with the devices of this group")
        ->type_name("NAME");
    command.add_flag("--off", typed->off, "lift all limits of this device");
    command.callback([typed, &chosen] {
        const LimitChange change = change_of(*typed);
        check(*typed, change);
        chosen = [typed, change](Session& session) { carry_out(session, *typed, change); };
    });
}

}  // namespace viaduct::ctl
