#include "vmm/control/commands/commands.hpp"

#include "vmm/control/reference.hpp"

namespace viaduct::control {
namespace {

/// Where a machine could stand. Rows refer to their machine and use it only when they run.
union MachineSpace {
    MachineSpace() {}   // NOLINT(modernize-use-equals-default): the machine is not to be built
    ~MachineSpace() {}  // NOLINT(modernize-use-equals-default)
    MachineSpace(const MachineSpace&) = delete;
    MachineSpace& operator=(const MachineSpace&) = delete;

    vmm::Machine machine;
};

}  // namespace

void add_commands(CommandTable& table, vmm::Machine& machine) {
    add_machine_commands(table, machine);
    add_vdpa_commands(table, machine);
    add_datapath_commands(table, machine);
    add_block_commands(table, machine);
    add_throttle_commands(table, machine);
    add_statistics_commands(table, machine);
    add_hotplug_commands(table, machine);
}

std::string qmp_reference() {
    MachineSpace space;
    CommandTable table;
    add_commands(table, space.machine);
    return reference_of(table);
}

}  // namespace viaduct::control
