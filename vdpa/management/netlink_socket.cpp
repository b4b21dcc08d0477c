#include "vdpa/management/netlink_socket.hpp"

#include <linux/netlink.h>

#include <libmnl/libmnl.h>

#include "base/error.hpp"

namespace viaduct::management {
namespace {

struct CloseSocket {
    void operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }
};

class KernelSocket final : public NetlinkSocket {
public:
    KernelSocket() : socket_(mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC)) {
        if (!socket_) throw SystemError("opening a generic netlink socket");
        // Kernels before 4.12 have neither; they have no vDPA.
        int on = 1;
        mnl_socket_setsockopt(socket_.get(), NETLINK_EXT_ACK, &on, sizeof on);
        mnl_socket_setsockopt(socket_.get(), NETLINK_CAP_ACK, &on, sizeof on);
        if (mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
            throw SystemError("binding a generic netlink socket");
        }
    }

    void send(std::span<const std::byte> datagram) override {
        if (mnl_socket_sendto(socket_.get(), datagram.data(), datagram.size()) < 0) {
            throw SystemError("sending to the kernel over generic netlink");
        }
    }

    std::vector<std::byte> receive() override {
        // The kernel sizes a dump's datagrams by what was read before, up to 32 KiB.
        std::vector<std::byte> datagram(std::size_t{32} * 1024);
        const auto size = mnl_socket_recvfrom(socket_.get(), datagram.data(), datagram.size());
        if (size < 0) throw SystemError("receiving from the kernel over generic netlink");
        datagram.resize(static_cast<std::size_t>(size));
        return datagram;
    }

private:
    std::unique_ptr<mnl_socket, CloseSocket> socket_;
};

}  // namespace

std::unique_ptr<NetlinkSocket> open_netlink_socket() {
    return std::make_unique<KernelSocket>();
}

}  // namespace viaduct::management
