#include "vmm/control/address.hpp"

#include "base/error.hpp"

namespace viaduct::control {
namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr std::string_view tcp_prefix = "tcp:";
constexpr std::string_view stdio = "stdio";

}  // namespace

Address parse_address(std::string_view text) {
    if (text == stdio) return StdioAddress{};
    if (text.starts_with(tcp_prefix)) {
        return parse_loopback_address("--qmp", text.substr(tcp_prefix.size()));
    }
    const auto path = text.starts_with(unix_prefix) ? text.substr(unix_prefix.size()) : "";
    if (path.empty()) {
        throw Error(
            "--qmp {}: not a socket's address: use unix:PATH, tcp:127.0.0.1:PORT, tcp:[::1]:PORT "
            "or stdio",
            text);
    }
    return UnixAddress{std::string(path)};
}

void check_addresses(const std::vector<std::string>& addresses, std::string_view serial) {
    bool stdio_taken = false;
    for (const auto& text : addresses) {
        if (!std::holds_alternative<StdioAddress>(parse_address(text))) continue;
        if (stdio_taken) {
            throw Error("--qmp stdio is given twice: there is one standard input: give it once");
        }
        if (serial == stdio) {
            throw Error(
                "--qmp stdio: the serial port has standard input and output (--serial stdio, the "
                "default): give it another place with --serial none, pty, file:PATH or unix:PATH");
        }
        stdio_taken = true;
    }
}

}  // namespace viaduct::control
