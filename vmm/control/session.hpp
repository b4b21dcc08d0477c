/// One client's conversation: requests in, replies out. Holds the protocol (QMP specification 2.3
/// to 2.5: greeting, capabilities negotiation, commands, errors, ids) and nothing of sockets.
///
/// Reply shapes: `{"return": …, "id": …}` and `{"id": …, "error": {"class": …, "desc": …}}`; the
/// id, any JSON value, is echoed when the request had one.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "vmm/control/command_table.hpp"
#include "vmm/control/request_reader.hpp"

namespace viaduct::control {

class Session {
public:
    /// The table must outlive the session and every command that it runs.
    explicit Session(const CommandTable& table) : table_(&table) {}

    [[nodiscard]] static boost::json::object greeting();

    /// Carries out one request. An error of the request or of its command is part of the reply.
    [[nodiscard]] boost::asio::awaitable<boost::json::object> answer(
        RequestReader::Request request);

    /// Negotiation is over: commands run and events are delivered.
    [[nodiscard]] bool negotiated() const noexcept { return negotiated_; }

private:
    [[nodiscard]] boost::asio::awaitable<boost::json::value> execute(boost::json::object request);

    const CommandTable* table_;
    bool negotiated_ = false;
};

}  // namespace viaduct::control
