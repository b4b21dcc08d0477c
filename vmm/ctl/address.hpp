/// Where a machine's QMP is: what `-s` and VIADUCT_SOCKET say.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace viaduct::ctl {

struct UnixAddress {
    std::string path;
    bool operator==(const UnixAddress&) const = default;
};

struct TcpAddress {
    std::string host;  // numeric
    std::uint16_t port = 0;
    bool operator==(const TcpAddress&) const = default;
};

using Address = std::variant<UnixAddress, TcpAddress>;

/// "/run/vm.sock", "unix:/run/vm.sock", "tcp:127.0.0.1:4444", "tcp:localhost:4444",
/// "tcp:[::1]:4444". Throws UsageError.
[[nodiscard]] Address parse_address(const std::string& text);

/// As `viaduct run --qmp` takes it: "unix:/run/vm.sock".
[[nodiscard]] std::string name_of(const Address& address);

}  // namespace viaduct::ctl
