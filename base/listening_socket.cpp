#include "base/listening_socket.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "base/error.hpp"

namespace viaduct {

ListeningSocket::ListeningSocket(std::string_view option, std::string address)
    : address_(std::move(address)), name_(fmt::format("{} {}", option, address_)) {}

Fd ListeningSocket::accept() {
    while (socket_) {
        Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (client || errno == EAGAIN) return client;
        if (errno != EINTR && errno != ECONNABORTED) {
            throw SystemError(name_ + ": accepting a client");
        }
    }
    return {};
}

}  // namespace viaduct
