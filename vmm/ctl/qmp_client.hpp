/// A conversation with a machine: requests and their replies one by one, with the events that come
/// in between set aside.
#pragma once

#include <deque>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "vmm/ctl/connection.hpp"
#include "vmm/ctl/patience.hpp"

namespace viaduct::ctl {

class QmpClient {
public:
    using Clock = Connection::Clock;
    using Duration = Connection::Duration;

    /// Connects, waits for the greeting, and leaves negotiation. Throws Error that says what is on
    /// the other side when it is no machine.
    explicit QmpClient(const Address& address, Duration greeting_patience = usual_patience);

    /// A signal's descriptor: request() then throws Interrupted, next_event() returns `woken`.
    void wake_on(int fd) noexcept { connection_.wake_on(fd); }

    /// A command's value. Throws as request() does.
    boost::json::value execute(std::string_view command, boost::json::object arguments = {});

    /// The whole reply, which has "return". Throws QmpRefusal for an error reply, ConnectionLost
    /// when the machine goes before it has answered, Error when it does not answer in time.
    boost::json::object request(const boost::json::object& request, Duration limit);

    /// An event that was set aside, or the next to come until then. `closed` is returned only after
    /// the machine has announced its end; without that ConnectionLost is thrown.
    [[nodiscard]] Connection::Received next_event(Clock::time_point deadline);

    /// Whether the machine has announced its end.
    [[nodiscard]] bool is_shut_down() const noexcept { return is_shut_down_; }

private:
    void await_greeting(Duration limit);
    void note_event(const boost::json::object& event);

    Connection connection_;
    std::deque<boost::json::object> events_;
    bool is_shut_down_ = false;
};

}  // namespace viaduct::ctl
