#include "vmm/ctl/connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <optional>

#include "vmm/ctl/connect.hpp"
#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {
namespace {

using Clock = Connection::Clock;

/// As poll() takes it; -1 is for ever.
int milliseconds_until(Clock::time_point deadline) {
    if (deadline == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    return static_cast<int>(std::clamp<decltype(left)>(left, 0, std::numeric_limits<int>::max()));
}

/// Nothing when there is something to receive.
std::optional<Silence> wait_readable(int socket, int wake_fd, Clock::time_point deadline) {
    while (true) {
        std::array waited{pollfd{.fd = wake_fd, .events = POLLIN, .revents = 0},
                          pollfd{.fd = socket, .events = POLLIN, .revents = 0}};
        const int ready = ::poll(waited.data(), waited.size(), milliseconds_until(deadline));
        if (ready < 0 && errno != EINTR) throw SystemError("poll");
        if (ready == 0) return Silence::timed_out;
        if (ready > 0) {
            if (waited[0].revents != 0) return Silence::woken;
            return std::nullopt;
        }
    }
}

}  // namespace

Connection::Connection(const Address& address, Duration patience)
    : peer_(name_of(address)), socket_(connect(address, patience)), reader_(peer_) {}

void Connection::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            throw ConnectionLost("{}: the VM has ended or closed the connection", peer_);
        }
        if (sent < 0 && errno == EAGAIN) throw Error("{}: the VM takes no requests: stuck?", peer_);
        if (sent < 0) throw SystemError("sending to " + peer_);
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

Connection::Received Connection::receive(Clock::time_point deadline) {
    while (true) {
        if (auto message = reader_.next()) return std::move(*message);
        if (const auto silence = wait_readable(socket_.get(), wake_fd_, deadline)) return *silence;
        std::array<char, 16384> chunk{};
        const auto size = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno != ECONNRESET) throw SystemError("receiving from " + peer_);
        if (size <= 0) return Silence::closed;
        reader_.push({chunk.data(), static_cast<std::size_t>(size)});
    }
}

}  // namespace viaduct::ctl
