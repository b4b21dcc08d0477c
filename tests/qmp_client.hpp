/// A synchronous QMP client for tests: connects to a unix socket (also one that is about to
/// appear) or takes any connected one, executes commands and waits for events. Works with QEMU as
/// well. Whatever does not come in time is an Error that says what the server was doing.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace viaduct::tests {

/// A command's error reply.
class QmpRefusal : public Error {
public:
    QmpRefusal(std::string error_class, const std::string& desc)
        : Error(desc), class_(std::move(error_class)) {}

    [[nodiscard]] const std::string& error_class() const noexcept { return class_; }

private:
    std::string class_;
};

class QmpClient {
public:
    using Duration = std::chrono::milliseconds;
    static constexpr Duration patience{10'000};

    /// Connects, retrying until the socket answers, and reads the greeting.
    explicit QmpClient(const std::string& path, Duration limit = patience);
    /// Over a socket that is connected, and reads the greeting.
    explicit QmpClient(Fd socket, Duration limit = patience);

    [[nodiscard]] const boost::json::object& greeting() const noexcept { return greeting_; }

    /// Leaves negotiation: execute("qmp_capabilities").
    void negotiate() { (void)execute("qmp_capabilities"); }

    /// A command's return value, or throws QmpRefusal. Events that come meanwhile are kept for
    /// wait_event.
    boost::json::value execute(std::string_view command, boost::json::object arguments = {},
                               Duration limit = patience);

    /// The first event of that name, whole; it and the events before it are forgotten.
    boost::json::object wait_event(std::string_view name, Duration limit = patience);

    /// Bytes as they are; blocks while the server does not take them.
    void send(std::string_view bytes);

    /// The next message, event or not; nothing when the server has closed the connection.
    std::optional<boost::json::object> receive(Duration limit = patience);

    /// The next line as it came, without its end.
    std::optional<std::string> receive_line(Duration limit = patience);

    [[nodiscard]] int fd() const noexcept { return socket_.get(); }

private:
    void receive_greeting(Duration limit);

    Fd socket_;
    std::string received_;
    boost::json::object greeting_;
    std::deque<boost::json::object> events_;
};

}  // namespace viaduct::tests
