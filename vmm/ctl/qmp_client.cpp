#include "vmm/ctl/qmp_client.hpp"

#include <utility>

#include <boost/json/serialize.hpp>

#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/reply.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

/// The reply that never came, in the words of the person who waits for it.
[[noreturn]] void give_up(Silence silence, const std::string& peer, const std::string& command,
                          Connection::Duration limit) {
    switch (silence) {
        case Silence::closed:
            throw ConnectionLost(
                "{}: the VM ended or closed the connection instead of answering {}", peer, command);
        case Silence::woken:
            throw Interrupted();
        case Silence::timed_out:
            break;
    }
    throw Error("{}: no answer to {} within {} s: the VM is stuck or its host very busy", peer,
                command, std::chrono::duration<double>(limit).count());
}

}  // namespace

QmpClient::QmpClient(const Address& address, Duration greeting_patience)
    : connection_(address, greeting_patience) {
    await_greeting(greeting_patience);
    (void)request({{"execute", "qmp_capabilities"}}, greeting_patience);
}

void QmpClient::await_greeting(Duration limit) {
    const auto received = connection_.receive(Clock::now() + limit);
    if (const auto* silence = std::get_if<Silence>(&received)) {
        if (*silence == Silence::closed) {
            throw ConnectionLost("{}: closed without a greeting: too many clients, or the VM ends",
                                 connection_.peer());
        }
        throw Error("{}: no QMP greeting within {} s: is it the machine's --qmp socket, and free?",
                    connection_.peer(), std::chrono::duration<double>(limit).count());
    }
    if (!std::get<json::object>(received).contains("QMP")) {
        throw Error("{} does not speak QMP: its first message is no greeting", connection_.peer());
    }
}

json::value QmpClient::execute(std::string_view command, json::object arguments) {
    const auto limit = patience_for(command, arguments);
    json::object message{{"execute", command}};
    if (!arguments.empty()) message.emplace("arguments", std::move(arguments));
    return std::move(request(message, limit).at("return"));
}

json::object QmpClient::request(const json::object& request, Duration limit) {
    const std::string command = text(request, "execute", "the request");
    connection_.send(json::serialize(request) + "\n");
    const auto deadline = Clock::now() + limit;
    while (true) {
        auto received = connection_.receive(deadline);
        if (const auto* silence = std::get_if<Silence>(&received)) {
            give_up(*silence, connection_.peer(), command, limit);
        }
        auto& message = std::get<json::object>(received);
        if (message.contains("event")) {
            note_event(message);
            events_.push_back(std::move(message));
        } else if (const auto* error = message.if_contains("error")) {
            throw QmpRefusal(text(*error, "class", "GenericError"), text(*error, "desc"));
        } else if (message.contains("return")) {
            return std::move(message);
        } else {
            throw Error("{} answered {} with what is no QMP reply", connection_.peer(), command);
        }
    }
}

Connection::Received QmpClient::next_event(Clock::time_point deadline) {
    if (!events_.empty()) {
        auto event = std::move(events_.front());
        events_.pop_front();
        return event;
    }
    while (true) {
        auto received = connection_.receive(deadline);
        if (const auto* event = std::get_if<json::object>(&received)) {
            // A reply that nobody waits for is nothing.
            if (!event->contains("event")) continue;
            note_event(*event);
        } else if (std::get<Silence>(received) == Silence::closed && !is_shut_down_) {
            throw ConnectionLost("{}: the connection broke: the VM was killed or dropped us",
                                 connection_.peer());
        }
        return received;
    }
}

void QmpClient::note_event(const json::object& event) {
    if (text(event, "event") == "SHUTDOWN") is_shut_down_ = true;
}

}  // namespace viaduct::ctl
