/// The QMP reference as Markdown, made from the command table and the event table: for each command
/// what it does, takes and returns, for each event what it means and tells. README.md has it
/// between two markers; a test compares.
#pragma once

#include <string>

#include "vmm/control/command_table.hpp"

namespace viaduct::control {

[[nodiscard]] std::string reference_of(const CommandTable& table);

}  // namespace viaduct::control
