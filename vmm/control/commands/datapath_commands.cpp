#include <boost/json/object.hpp>

#include "vmm/control/commands/awaited.hpp"
#include "vmm/control/commands/commands.hpp"
#include "vmm/control/commands/shapes.hpp"
#include "vmm/control/qmp_error.hpp"

namespace viaduct::control {
namespace {

using datapath::GuestDevice;
using datapath::Policy;
using datapath::SwitchOutcome;

Policy policy_named(const std::string& mode) {
    if (mode == "fast") return Policy::fast;
    return mode == "slow" ? Policy::slow : Policy::automatic;
}

datapath::SwitchOptions switch_options(const Arguments& arguments) {
    datapath::SwitchOptions options;
    if (const auto timeout = arguments.find<std::int64_t>("switch-timeout")) {
        constexpr std::int64_t longest = 3'600'000;
        if (*timeout < 0 || *timeout > longest) {
            throw QmpError(ErrorClass::generic_error, "switch-timeout is {} ms: give 0 to {}",
                           *timeout, longest);
        }
        options.timeout = std::chrono::milliseconds(*timeout);
    }
    options.break_on_timeout = arguments.find<std::string>("on-timeout") == "break";
    return options;
}

boost::asio::awaitable<boost::json::value> set_datapath(vmm::Machine& machine,
                                                        const Arguments& arguments) {
    GuestDevice& guest = device_named(machine, arguments.get<std::string>("id")).guest_device;
    const Policy policy = policy_named(arguments.get<std::string>("mode"));
    const auto options = switch_options(arguments);
    Request<SwitchOutcome> request = [&](auto done) {
        guest.set_policy(policy, options, std::move(done));
    };
    co_return describe(succeeded(co_await awaited(request)));
}

}  // namespace

vmm::Machine::Device& device_named(vmm::Machine& machine, const std::string& id) {
    for (const auto& device : machine.devices()) {
        if (device->guest_device.id() == id) return *device;
    }
    throw QmpError(ErrorClass::device_not_found, "Device '{}' not found", id);
}

datapath::SwitchReport succeeded(const SwitchOutcome& outcome) {
    if (const auto* reason = std::get_if<std::string>(&outcome)) {
        throw QmpError(ErrorClass::generic_error, *reason);
    }
    return std::get<datapath::SwitchReport>(outcome);
}

boost::json::object describe(const datapath::SwitchReport& report) {
    return {{"from", datapath::name_of(report.from)},
            {"to", datapath::name_of(report.to)},
            {"blackout-us", report.blackout.count()},
            {"drain-us", report.drain.count()},
            {"in-flight-at-start", report.in_flight}};
}

void add_datapath_commands(CommandTable& table, vmm::Machine& machine) {
    table.add(
        {.name = "vdpa-set-datapath",
         .doc = "Chooses a device's data path: fast (the device serves the guest), slow (the VMM "
                "stands between), auto (slow exactly while something needs it).",
         .parameters =
             {{.name = "id", .type = ArgumentType::string, .doc = "the device"},
              {.name = "mode",
               .type = ArgumentType::string,
               .doc = "which path",
               .values = {"fast", "slow", "auto"}},
              {.name = "switch-timeout",
               .type = ArgumentType::integer,
               .doc = "how long to wait for what is in flight, in milliseconds; 5000 by default",
               .need = Need::optional},
              {.name = "on-timeout",
               .type = ArgumentType::string,
               .doc = "after that: fail, and nothing has changed (the default), or break the "
                      "device, which then needs a reset by its guest",
               .need = Need::optional,
               .values = {"fail", "break"}}},
         .returns = switch_report_shape(),
         .run = [&](const Arguments& arguments) { return set_datapath(machine, arguments); }});
}

}  // namespace viaduct::control
