/// The commands, a function for each group: they add sub-commands with their options to the command
/// line, and leave in `chosen` what the one that was typed does. A command throws UsageError,
/// before it talks to the machine, for options that make no sense.
#pragma once

#include <functional>

#include "vmm/ctl/session.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's name
class App;
}

namespace viaduct::ctl {

using Command = std::function<void(Session&)>;

/// status, stop, cont, reset, powerdown, quit.
void add_machine_commands(CLI::App& app, Command& chosen);
/// vdpa, set-datapath.
void add_vdpa_commands(CLI::App& app, Command& chosen);
/// block, blockstats.
void add_block_commands(CLI::App& app, Command& chosen);
/// throttle.
void add_throttle_command(CLI::App& app, Command& chosen);
/// events.
void add_events_command(CLI::App& app, Command& chosen);
/// top.
void add_top_command(CLI::App& app, Command& chosen);
/// devices, which needs no machine.
void add_devices_command(CLI::App& app, Command& chosen);
inline constexpr const char* host_command = "devices";
/// qmp.
void add_qmp_command(CLI::App& app, Command& chosen);

}  // namespace viaduct::ctl
