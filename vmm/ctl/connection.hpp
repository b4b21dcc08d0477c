/// Whole QMP messages to and from a machine, with limits to waiting.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <variant>

#include <boost/json/object.hpp>

#include "base/fd.hpp"
#include "vmm/ctl/address.hpp"
#include "vmm/ctl/message_reader.hpp"

namespace viaduct::ctl {

/// Why no message came.
enum class Silence { closed, timed_out, woken };

class Connection {
public:
    using Clock = std::chrono::steady_clock;
    using Duration = std::chrono::milliseconds;
    using Received = std::variant<boost::json::object, Silence>;

    Connection(const Address& address, Duration patience);

    [[nodiscard]] const std::string& peer() const noexcept { return peer_; }

    /// From now on waiting also ends when `fd` is readable.
    void wake_on(int fd) noexcept { wake_fd_ = fd; }

    /// Throws ConnectionLost when the other side has gone, Error when it does not take the bytes.
    void send(std::string_view bytes);

    /// Waits until then, for ever with Clock::time_point::max(). Throws Error when what comes is
    /// not QMP.
    [[nodiscard]] Received receive(Clock::time_point deadline);

private:
    std::string peer_;
    Fd socket_;
    MessageReader reader_;
    int wake_fd_ = -1;
};

}  // namespace viaduct::ctl
