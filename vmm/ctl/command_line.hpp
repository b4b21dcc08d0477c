/// `viaductctl` from its command line to its exit status.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmm/ctl/commands.hpp"

namespace viaduct::ctl {

/// What was asked for.
struct Invocation {
    std::optional<Address> address;  // nothing for a command that is about the host
    bool as_json = false;
    Command command;
};

/// `socket`: VIADUCT_SOCKET, empty when it is not set. Nothing when --help or --version was asked
/// for and printed. Throws UsageError that names the nearest valid command or option.
[[nodiscard]] std::optional<Invocation> parse_command_line(int argc, const char* const* argv,
                                                           const std::string& socket);

/// The words that can stand first.
[[nodiscard]] std::vector<std::string> command_names();

/// The whole program: errors are a line on standard error. Returns 0, 1 for what went wrong, 2 for
/// wrong usage.
int run(int argc, const char* const* argv) noexcept;

}  // namespace viaduct::ctl
