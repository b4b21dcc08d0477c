#include "base/tcp_listener.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/error.hpp"

namespace viaduct {
namespace {

constexpr std::string_view valid = "use 127.0.0.1:PORT or [::1]:PORT";

/// Room for either family's address.
struct SocketAddress {
    sockaddr_storage bytes{};
    socklen_t size = sizeof bytes;

    [[nodiscard]] sockaddr* generic() noexcept {
        // The sockets API takes every family's address by its common header.
        return reinterpret_cast<sockaddr*>(&bytes);
    }
};

template <typename T>
SocketAddress pack(const T& address) {
    SocketAddress packed{.size = sizeof address};
    std::memcpy(&packed.bytes, &address, sizeof address);
    return packed;
}

SocketAddress socket_address(const LoopbackAddress& from) {
    if (from.is_ipv6) {
        sockaddr_in6 address{};
        address.sin6_family = AF_INET6;
        address.sin6_port = htons(from.port);
        address.sin6_addr = in6addr_loopback;
        return pack(address);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(from.port);
    ::inet_pton(AF_INET, from.host.c_str(), &address.sin_addr);
    return pack(address);
}

bool is_loopback(const std::string& host, bool is_ipv6) {
    if (is_ipv6) {
        in6_addr address{};
        return ::inet_pton(AF_INET6, host.c_str(), &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
    }
    in_addr address{};
    return ::inet_pton(AF_INET, host.c_str(), &address) == 1 &&
           ntohl(address.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
}

}  // namespace

LoopbackAddress parse_loopback_address(std::string_view option, std::string_view text) {
    const std::size_t colon = text.rfind(':');
    const std::string_view host = text.substr(0, std::min(colon, text.size()));
    const std::string_view digits =
        colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
    LoopbackAddress address;
    address.is_ipv6 = host.starts_with('[') && host.ends_with(']');
    address.host = address.is_ipv6 ? host.substr(1, host.size() - 2) : host;
    if (!is_loopback(address.host, address.is_ipv6)) {
        throw Error(
            "{} tcp:{}: '{}' is not a loopback address, and whoever connects is not asked who he "
            "is: {}, or reach it from elsewhere through ssh -L",
            option, text, host, valid);
    }
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, address.port);
    if (digits.empty() || error != std::errc{} || stop != end) {
        throw Error("{} tcp:{}: '{}' is not a port from 0 to 65535: {}", option, text, digits,
                    valid);
    }
    return address;
}

std::string text_of(const LoopbackAddress& address) {
    return fmt::format("{}{}{}:{}", address.is_ipv6 ? "[" : "", address.host,
                       address.is_ipv6 ? "]" : "", address.port);
}

TcpListener::TcpListener(std::string_view option, LoopbackAddress address)
    : ListeningSocket(option, "tcp:" + text_of(address)), at_(std::move(address)) {
    bind_and_listen();
    if (at_.port == 0) note_own_port();
}

void TcpListener::bind_and_listen() {
    const int family = at_.is_ipv6 ? AF_INET6 : AF_INET;
    socket_ = Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket_) refuse("socket", errno);
    // A machine that starts again soon finds its port although its last clients' connections
    // linger; two that listen are refused all the same.
    const int on = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Connections inherit it: nobody gathers answers for us.
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SocketAddress own = socket_address(at_);
    if (::bind(socket_.get(), own.generic(), own.size) != 0) refuse("bind", errno);
    if (::listen(socket_.get(), backlog) != 0) refuse("listen", errno);
}

void TcpListener::note_own_port() {
    sockaddr_in6 own{};  // the port stands where sockaddr_in has it
    socklen_t size = sizeof own;
    if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) {
        refuse("getsockname", errno);
    }
    at_.port = ntohs(own.sin6_port);
    set_address("tcp:" + text_of(at_));
}

void TcpListener::refuse(const char* step, int error) const {
    if (error == EADDRINUSE) {
        throw Error("{}: in use by a running process: end it or choose another port", name());
    }
    if (error == EACCES) {
        throw Error("{}: ports below 1024 need privileges: choose one above", name());
    }
    if (error == EAFNOSUPPORT || error == EADDRNOTAVAIL) {
        throw Error("{}: this host has no such address: {}", name(), valid);
    }
    throw SystemError(name() + ": " + step, error);
}

}  // namespace viaduct
