/// The QMP commands that concern the machine, in groups; each adds its rows to the table. The
/// machine must outlive the table's use.
#pragma once

#include "vmm/control/command_table.hpp"
#include "vmm/machine.hpp"

namespace viaduct::control {

/// query-status, query-name, query-cpus-fast, stop, cont, system_reset, system_powerdown, quit.
void add_machine_commands(CommandTable& table, vmm::Machine& machine);

/// query-vdpa.
void add_vdpa_commands(CommandTable& table, const vmm::Machine& machine);

/// query-stats: KVM's own counters.
void add_statistics_commands(CommandTable& table, const vmm::Machine& machine);

}  // namespace viaduct::control
