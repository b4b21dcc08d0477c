/// A listening TCP socket that only this host can reach: on 127.0.0.0/8 or ::1. Any other address
/// is refused, as whoever connects has the guest's controls and is not asked who he is. (Every user
/// of the host can connect; a UnixListener is for its owner alone.)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/listening_socket.hpp"

namespace viaduct {

/// "127.0.0.1:4444", "[::1]:4444".
struct LoopbackAddress {
    bool is_ipv6 = false;
    std::string host;  // as in IP(7): "127.0.0.1", "::1"
    std::uint16_t port = 0;
    friend bool operator==(const LoopbackAddress&, const LoopbackAddress&) = default;
};

/// Throws Error that begins with `option` ("--qmp") and says what is wrong with `text` and what
/// may stand there.
[[nodiscard]] LoopbackAddress parse_loopback_address(std::string_view option,
                                                     std::string_view text);

/// As parse_loopback_address() takes it.
[[nodiscard]] std::string text_of(const LoopbackAddress& address);

class TcpListener final : public ListeningSocket {
public:
    /// With port 0 the kernel picks one that is free; address() tells which. `option` is the
    /// operator's: errors begin with it and the address. Throws Error that tells what stands in the
    /// way and what to do.
    TcpListener(std::string_view option, LoopbackAddress address);

    void close() noexcept override { socket_.reset(); }

private:
    void bind_and_listen();
    void note_own_port();
    [[noreturn]] void refuse(const char* step, int error) const;

    LoopbackAddress at_;
};

}  // namespace viaduct
