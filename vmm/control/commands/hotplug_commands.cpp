#include "vmm/control/commands/commands.hpp"
#include "vmm/control/qmp_error.hpp"

namespace viaduct::control {
namespace {

boost::json::value refuse_to_add(const Arguments& arguments) {
    throw QmpError(
        ErrorClass::generic_error,
        "this version has no hotplug: name the device '{}' with --device when the "
        "machine is started",
        arguments.find<std::string>("id").value_or(arguments.get<std::string>("driver")));
}

boost::json::value refuse_to_remove(vmm::Machine& machine, const Arguments& arguments) {
    const auto& device = device_named(machine, arguments.get<std::string>("id"));
    throw QmpError(ErrorClass::generic_error,
                   "this version has no hotplug: the device '{}' stays until the machine ends",
                   device.guest_device.id());
}

}  // namespace

void add_hotplug_commands(CommandTable& table, vmm::Machine& machine) {
    table.add({.name = "device_add",
               .doc = "Not in this version: always an error that says so.",
               .parameters = {{.name = "driver",
                               .type = ArgumentType::string,
                               .doc = "the kind of device"},
                              {.name = "id",
                               .type = ArgumentType::string,
                               .doc = "its name from then on",
                               .need = Need::optional}},
               .other_arguments = Others::accepted,
               .run = refuse_to_add});
    table.add(
        {.name = "device_del",
         .doc = "Not in this version: always an error that says so.",
         .parameters = {{.name = "id", .type = ArgumentType::string, .doc = "the device"}},
         .run = [&](const Arguments& arguments) { return refuse_to_remove(machine, arguments); }});
}

}  // namespace viaduct::control
