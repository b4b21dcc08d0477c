/// Where QMP is spoken, as `--qmp` says: `unix:PATH`, `tcp:127.0.0.1:PORT`, `tcp:[::1]:PORT` or
/// `stdio`.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/tcp_listener.hpp"

namespace viaduct::control {

struct UnixAddress {
    std::string path;
    friend bool operator==(const UnixAddress&, const UnixAddress&) = default;
};
/// Standard input and output.
struct StdioAddress {
    friend bool operator==(const StdioAddress&, const StdioAddress&) = default;
};
using Address = std::variant<UnixAddress, LoopbackAddress, StdioAddress>;

/// Throws Error that says what was found and what may stand there.
[[nodiscard]] Address parse_address(std::string_view text);

/// Checks all that stand behind `--qmp`: each by itself, and that standard input and output are
/// asked for once, `--serial` (`serial`, as typed) included. Throws Error.
void check_addresses(const std::vector<std::string>& addresses, std::string_view serial);

}  // namespace viaduct::control
