/// How much one QMP client, or all of them, may take from the VMM.
#pragma once

#include <chrono>
#include <cstddef>

namespace viaduct::control {

struct Limits {
    /// Connections at one time; a further one is closed.
    std::size_t clients = 16;
    /// Bytes of one request; a larger one is answered with an error and its connection closed.
    std::size_t request = std::size_t{256} << 10U;
    /// Bytes of output that a client may leave unread before it is closed.
    std::size_t unread = std::size_t{1} << 20U;
    /// Bytes of unread output from which on a client's next request waits …
    std::size_t unread_to_go_on = std::size_t{64} << 10U;
    /// … for so long, after which it is closed.
    std::chrono::milliseconds stall{30'000};
    /// Input that is no JSON closes a connection that has not negotiated: its client speaks another
    /// protocol. Where a browser can connect (TCP), a web page could have it send commands behind
    /// an HTTP header.
    bool json_from_the_start = false;
    /// How long a connection that ends waits for its peer to take what is left.
    std::chrono::milliseconds farewell{1'000};
};

}  // namespace viaduct::control
