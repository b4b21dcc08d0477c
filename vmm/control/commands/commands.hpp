/// The QMP commands that concern the machine, in groups; each adds its rows to the table. The
/// machine must outlive the table's use.
#pragma once

#include <string>

#include "vmm/control/command_table.hpp"
#include "vmm/machine.hpp"

namespace viaduct::control {

/// query-status, query-name, query-cpus-fast, stop, cont, system_reset, system_powerdown, quit.
void add_machine_commands(CommandTable& table, vmm::Machine& machine);

/// query-vdpa.
void add_vdpa_commands(CommandTable& table, const vmm::Machine& machine);

/// vdpa-set-datapath.
void add_datapath_commands(CommandTable& table, vmm::Machine& machine);

/// query-block, query-blockstats.
void add_block_commands(CommandTable& table, const vmm::Machine& machine);

/// block_set_io_throttle.
void add_throttle_commands(CommandTable& table, vmm::Machine& machine);

/// query-stats: KVM's own counters.
void add_statistics_commands(CommandTable& table, const vmm::Machine& machine);

// What they share.

/// Throws QmpError DeviceNotFound.
vmm::Machine::Device& device_named(vmm::Machine& machine, const std::string& id);
/// The report, or throws QmpError with the reason.
datapath::SwitchReport succeeded(const datapath::SwitchOutcome& outcome);
/// {"from", "to", "blackout-us", "drain-us", "in-flight-at-start"}
boost::json::object describe(const datapath::SwitchReport& report);
/// Of a device's limits, each argument of block_set_io_throttle that is set, and the six averages.
boost::json::object describe(const datapath::ThrottleLimits& limits);

/// device_add, device_del.
void add_hotplug_commands(CommandTable& table, vmm::Machine& machine);

/// All of them.
void add_commands(CommandTable& table, vmm::Machine& machine);

/// The reference (reference.hpp) of all commands and events. Needs no machine.
[[nodiscard]] std::string qmp_reference();

}  // namespace viaduct::control
