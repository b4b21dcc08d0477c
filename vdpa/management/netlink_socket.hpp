/// A generic netlink socket to the kernel (libmnl): datagrams in both directions. The seam at which
/// tests put messages recorded from a real kernel in its place.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace viaduct::management {

class NetlinkSocket {
public:
    NetlinkSocket() = default;
    NetlinkSocket(const NetlinkSocket&) = delete;
    NetlinkSocket& operator=(const NetlinkSocket&) = delete;
    virtual ~NetlinkSocket() = default;

    /// Throws SystemError.
    virtual void send(std::span<const std::byte> datagram) = 0;
    /// The next datagram: one or more messages. Throws SystemError.
    virtual std::vector<std::byte> receive() = 0;
};

/// Extended acknowledgements are switched on. Throws SystemError.
std::unique_ptr<NetlinkSocket> open_netlink_socket();

}  // namespace viaduct::management
