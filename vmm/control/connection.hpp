/// One client's connection: reads requests, has the session answer them one after the other, and
/// writes replies and events. Everything happens on the executor's thread, which never waits here:
/// a slow, silent or absent client costs at most the memory that `Limits` names.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "vmm/control/byte_stream.hpp"
#include "vmm/control/limits.hpp"
#include "vmm/control/request_reader.hpp"
#include "vmm/control/session.hpp"

namespace viaduct::control {

class Connection : public std::enable_shared_from_this<Connection> {
public:
    /// `name` is what the log calls it; `on_progress` is called whenever `quiet` may have changed.
    Connection(const boost::asio::any_io_executor& executor, std::unique_ptr<ByteStream> stream,
               const CommandTable& table, const Limits& limits, std::string name,
               std::function<void()> on_progress);

    /// Greets and serves until the client leaves or is closed.
    boost::asio::awaitable<void> serve();

    /// Queues an event for a client that has negotiated; for any other does nothing.
    void deliver(std::string_view event);

    /// Takes no further request; the one that runs is still answered.
    void stop_taking() noexcept { taking_ = false; }

    /// No request runs and all output was taken.
    [[nodiscard]] bool quiet() const noexcept { return closed_ || (!answering_ && unread() == 0); }

    /// Bytes of output that the client has not taken yet.
    [[nodiscard]] std::size_t unread() const noexcept {
        return outgoing_.size() + being_written_.size() - written_;
    }

    void close() noexcept;

private:
    boost::asio::awaitable<void> answer_all();
    boost::asio::awaitable<void> write_out();
    boost::asio::awaitable<bool> unread_at_most(std::size_t bytes, std::chrono::milliseconds limit);

    void send(std::string_view text);
    void drop(std::string_view reason);
    boost::asio::any_io_executor executor_;
    std::unique_ptr<ByteStream> stream_;
    Limits limits_;
    std::string name_;
    std::function<void()> on_progress_;
    RequestReader reader_;
    Session session_;
    boost::asio::steady_timer progress_;  // cancelled when output was taken

    std::string outgoing_;       // queued behind what is being written
    std::string being_written_;  // stays in place while a write refers to it
    std::size_t written_ = 0;    // of being_written_
    bool writing_ = false;
    bool answering_ = false;
    bool taking_ = true;
    bool closed_ = false;
};

}  // namespace viaduct::control
