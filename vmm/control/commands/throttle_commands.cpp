#include <memory>
#include <string>

#include "vmm/control/commands/awaited.hpp"
#include "vmm/control/commands/commands.hpp"
#include "vmm/control/commands/turns.hpp"
#include "vmm/control/qmp_error.hpp"

namespace viaduct::control {
namespace {

using datapath::GuestDevice;
using datapath::RateLimit;
using datapath::SwitchOutcome;
using datapath::ThrottleLimits;

ThrottleLimits limits_from(const Arguments& arguments) {
    ThrottleLimits limits;
    for (const auto& name : datapath::rate_limit_names) {
        const std::string argument = name.argument;
        RateLimit& rate = limits.*name.limit;
        rate.average = arguments.get<std::uint64_t>(argument);
        rate.maximum = arguments.find<std::uint64_t>(argument + "_max").value_or(0);
        rate.length = arguments.find<std::uint64_t>(argument + "_max_length").value_or(1);
    }
    limits.iops_size = arguments.find<std::uint64_t>("iops_size").value_or(0);
    return limits;
}

using Group = std::shared_ptr<datapath::ThrottleGroup>;

/// What is to be had again.
struct Before {
    Group joined;  // by the device
    Group group;   // that is to change
    ThrottleLimits of_group;
};

boost::asio::awaitable<SwitchOutcome> change(GuestDevice& guest, const Group& group,
                                             const ThrottleLimits& limits) {
    Request<SwitchOutcome> request = [&](auto done) {
        guest.set_throttle(group, limits, std::move(done));
    };
    co_return co_await awaited(request);
}

/// The group's devices, but for one, go where its limits are enforced, or no more needed. The
/// outcome is the first failure.
boost::asio::awaitable<SwitchOutcome> let_follow(vmm::Machine& machine, const Group& group,
                                                 const GuestDevice* but) {
    SwitchOutcome all;
    for (const auto& device : machine.devices()) {
        GuestDevice& guest = device->guest_device;
        if (&guest == but || guest.throttle_group() != group) continue;
        Request<SwitchOutcome> follow = [&](auto done) { guest.follow_throttle(std::move(done)); };
        SwitchOutcome outcome = co_await awaited(follow);
        const bool is_first = !std::holds_alternative<std::string>(all);
        if (is_first && std::holds_alternative<std::string>(outcome)) all = std::move(outcome);
    }
    co_return all;
}

/// A device that cannot go back is broken then, and says so itself.
boost::asio::awaitable<void> undo(vmm::Machine& machine, GuestDevice& guest, const Before& before) {
    Request<SwitchOutcome> join = [&](auto done) {
        guest.join_group(before.joined, std::move(done));
    };
    (void)co_await awaited(join);
    before.group->set_limits(before.of_group, datapath::ThrottleGroup::TimePoint::clock::now());
    (void)co_await let_follow(machine, before.group, nullptr);
}

boost::asio::awaitable<boost::json::value> set_throttle(vmm::Machine& machine, Turns& turns,
                                                        const Arguments& arguments) {
    GuestDevice& guest =
        device_named(machine, arguments.get_one_of<std::string>({"id", "device"})).guest_device;
    const ThrottleLimits limits = limits_from(arguments);
    const auto name = arguments.find<std::string>("group");
    // What fails puts limits back that must not be another client's by then.
    const auto turn = co_await turns.take();
    const Group joined = guest.throttle_group();
    const Group group = !limits.any() ? nullptr
                        : name || !joined
                            ? machine.throttle_groups().find_or_create(name.value_or(guest.id()))
                            : joined;
    const Before before{joined, group, group ? group->limits() : ThrottleLimits()};
    const SwitchOutcome changed = co_await change(guest, group, limits);
    succeeded(changed);
    if (!group) co_return boost::json::object{};
    // The limits are the group's: its other devices are held to them too.
    const SwitchOutcome followed = co_await let_follow(machine, group, &guest);
    if (const auto* const reason = std::get_if<std::string>(&followed)) {
        co_await undo(machine, guest, before);
        throw QmpError(ErrorClass::generic_error,
                       "{}; it shares the limits of group '{}', which are as before", *reason,
                       group->name());
    }
    co_return boost::json::object{};
}

/// The texts of the table, which wants them to live as long as it does.
struct Texts {
    std::string average;
    std::string maximum;
    std::string length;
    std::string average_doc;
};

const std::array<Texts, datapath::rate_limit_names.size()>& texts() {
    static const auto all = [] {
        constexpr std::array docs{"bytes per second",         "bytes read per second",
                                  "bytes written per second", "requests per second",
                                  "reads per second",         "writes per second"};
        std::array<Texts, datapath::rate_limit_names.size()> made;
        for (std::size_t i = 0; i < made.size(); ++i) {
            const std::string name = datapath::rate_limit_names[i].argument;
            made[i] = {name, name + "_max", name + "_max_length",
                       std::string(docs[i]) + ", 0 for no limit"};
        }
        return made;
    }();
    return all;
}

std::vector<Parameter> parameters() {
    std::vector<Parameter> all{{.name = "id",
                                .type = ArgumentType::string,
                                .doc = "the device",
                                .need = Need::exactly_one},
                               {.name = "device",
                                .type = ArgumentType::string,
                                .doc = "the same, by its older name",
                                .need = Need::exactly_one}};
    for (const Texts& text : texts()) {
        all.push_back({.name = text.average, .type = ArgumentType::size, .doc = text.average_doc});
    }
    for (const Texts& text : texts()) {
        all.push_back({.name = text.maximum,
                       .type = ArgumentType::size,
                       .doc = "the same during a burst",
                       .need = Need::optional});
        all.push_back({.name = text.length,
                       .type = ArgumentType::size,
                       .doc = "how long a burst may last, in seconds; 1 by default",
                       .need = Need::optional});
    }
    all.push_back({.name = "iops_size",
                   .type = ArgumentType::size,
                   .doc = "bytes from which on a request counts as several",
                   .need = Need::optional});
    all.push_back({.name = "group",
                   .type = ArgumentType::string,
                   .doc = "whose limits these are, shared by every device in it; by default the "
                          "one that the device is in, or else one of its name",
                   .need = Need::optional});
    return all;
}

}  // namespace

boost::json::object describe(const ThrottleLimits& limits) {
    boost::json::object described;
    for (const auto& name : datapath::rate_limit_names) {
        const RateLimit& rate = limits.*name.limit;
        const std::string argument = name.argument;
        described[argument] = rate.average;
        if (rate.maximum == 0) continue;
        described[argument + "_max"] = rate.maximum;
        described[argument + "_max_length"] = rate.length;
    }
    if (limits.iops_size != 0) described["iops_size"] = limits.iops_size;
    return described;
}

void add_throttle_commands(CommandTable& table, vmm::Machine& machine) {
    table.add(
        {.name = "block_set_io_throttle",
         .doc = "Limits a disk's I/O, in force when the command returns: a device whose data path "
                "is auto takes to the slow path first, and back when the last limit is gone. "
                "Limits that are all 0 take the device out of its group, whose others keep theirs. "
                "One client's limits are set after the other's.",
         .parameters = parameters(),
         .run = [&, turns = std::make_shared<Turns>()](const Arguments& arguments) {
             return set_throttle(machine, *turns, arguments);
         }});
}

}  // namespace viaduct::control
