#include "vmm/ctl/connect.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {
namespace {

/// An address of any family, as the sockets API takes it.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    template <typename Family>
    explicit SocketAddress(const Family& address) : size(sizeof address) {
        static_assert(sizeof address <= sizeof storage);
        std::memcpy(&storage, &address, sizeof address);
    }
};

SocketAddress socket_address(const UnixAddress& address) {
    sockaddr_un native{};
    native.sun_family = AF_UNIX;
    std::ranges::copy(address.path, native.sun_path);
    return SocketAddress(native);
}

SocketAddress socket_address(const TcpAddress& address) {
    sockaddr_in version_4{};
    version_4.sin_family = AF_INET;
    version_4.sin_port = htons(address.port);
    if (::inet_pton(AF_INET, address.host.c_str(), &version_4.sin_addr) == 1) {
        return SocketAddress(version_4);
    }
    sockaddr_in6 version_6{};
    version_6.sin6_family = AF_INET6;
    version_6.sin6_port = htons(address.port);
    if (::inet_pton(AF_INET6, address.host.c_str(), &version_6.sin6_addr) == 1) {
        return SocketAddress(version_6);
    }
    throw UsageError("-s tcp:{}:{}: '{}' is not an IP address: write it as tcp:127.0.0.1:4444",
                     address.host, address.port, address.host);
}

[[noreturn]] void refuse(const Address& address, int error, std::chrono::milliseconds patience) {
    const std::string name = name_of(address);
    switch (error) {
        case ENOENT:
            throw Error("{}: no such socket: is the VM running, and was it started with --qmp {}?",
                        name, name);
        case ECONNREFUSED:
            throw Error("{}: nobody listens there: the VM has ended, or its --qmp is another",
                        name);
        case EACCES:
        case EPERM:
            throw Error("{}: permission denied: the socket is for the user who started the VM",
                        name);
        case EAGAIN:
        case EINPROGRESS:
        case ETIMEDOUT:
            throw Error("{}: not connected within {} ms: the VM is stuck or has too many clients",
                        name, patience.count());
        default:
            throw SystemError("connecting to " + name, error);
    }
}

}  // namespace

Fd connect(const Address& address, std::chrono::milliseconds patience) {
    const SocketAddress native =
        std::visit([](const auto& known) { return socket_address(known); }, address);
    Fd socket(::socket(native.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) throw SystemError("making a socket");
    const auto seconds = std::chrono::floor<std::chrono::seconds>(patience);
    const timeval limit{
        .tv_sec = seconds.count(),
        .tv_usec = std::chrono::microseconds(patience - seconds).count(),
    };
    // connect() keeps to the send time-out as well.
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
        throw SystemError("setting a socket's time-out");
    }
    // The sockets API takes every family's address by its common header.
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&native.storage), native.size) !=
        0) {
        refuse(address, errno, patience);
    }
    return socket;
}

}  // namespace viaduct::ctl
