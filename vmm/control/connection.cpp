#include "vmm/control/connection.hpp"

#include <exception>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.hpp"
#include "vmm/control/wire_text.hpp"

namespace viaduct::control {
namespace {

namespace asio = boost::asio;

constexpr std::size_t read_size = 16384;

}  // namespace

Connection::Connection(const asio::any_io_executor& executor, std::unique_ptr<ByteStream> stream,
                       const CommandTable& table, const Limits& limits, std::string name,
                       std::function<void()> on_progress)
    : executor_(executor),
      stream_(std::move(stream)),
      limits_(limits),
      name_(std::move(name)),
      on_progress_(std::move(on_progress)),
      reader_(limits.request),
      session_(table),
      progress_(executor) {}

asio::awaitable<void> Connection::serve() {
    const auto self = shared_from_this();
    send(wire_text(Session::greeting()));
    std::vector<char> chunk(read_size);
    while (taking_ && !closed_ && !reader_.overflowed()) {
        const auto size = co_await stream_->read_some(chunk);
        if (size == 0) break;
        reader_.push({chunk.data(), size});
        co_await answer_all();
    }
    if (reader_.overflowed()) log::warning("qmp: {}: closed: its request was too large", name_);
    co_await unread_at_most(0, limits_.farewell);
    close();
}

asio::awaitable<void> Connection::answer_all() {
    while (taking_ && !closed_) {
        auto request = reader_.next();
        if (!request) co_return;
        const bool is_json = std::holds_alternative<boost::json::value>(*request);
        answering_ = true;
        const auto reply = co_await session_.answer(std::move(*request));
        answering_ = false;
        send(wire_text(reply));
        on_progress_();
        if (!is_json && limits_.json_from_the_start && !session_.negotiated()) {
            drop("it does not speak QMP");
            co_return;
        }
        const bool going_on = co_await unread_at_most(limits_.unread_to_go_on, limits_.stall);
        if (!going_on) drop("it sends requests and does not read the answers");
    }
}

asio::awaitable<bool> Connection::unread_at_most(std::size_t bytes,
                                                 std::chrono::milliseconds limit) {
    if (closed_ || unread() <= bytes) co_return true;
    progress_.expires_after(limit);
    while (!closed_ && unread() > bytes) {
        const auto [interrupted] =
            co_await progress_.async_wait(asio::as_tuple(asio::use_awaitable));
        if (!interrupted) break;
    }
    co_return closed_ || unread() <= bytes;
}

void Connection::deliver(std::string_view event) {
    if (session_.negotiated()) send(event);
}

void Connection::send(std::string_view text) {
    if (closed_) return;
    if (unread() > limits_.unread) {
        drop(fmt::format("it left {} bytes of output unread", unread()));
        return;
    }
    outgoing_ += text;
    outgoing_ += "\r\n";
    if (std::exchange(writing_, true)) return;
    asio::co_spawn(executor_, write_out(), asio::detached);
}

asio::awaitable<void> Connection::write_out() {
    const auto self = shared_from_this();
    while (!closed_ && !outgoing_.empty()) {
        being_written_ = std::exchange(outgoing_, {});
        while (!closed_ && written_ < being_written_.size()) {
            const auto rest = std::string_view(being_written_).substr(written_);
            const auto taken = co_await stream_->write_some(rest);
            written_ += taken;
            if (taken == 0) close();
            progress_.cancel();
        }
        being_written_.clear();
        written_ = 0;
        on_progress_();
    }
    writing_ = false;
}

void Connection::drop(std::string_view reason) {
    log::warning("qmp: {}: closed: {}", name_, reason);
    close();
}

void Connection::close() noexcept {
    if (std::exchange(closed_, true)) return;
    stream_->close();
    outgoing_ = {};
    progress_.cancel();
    on_progress_();
}

}  // namespace viaduct::control
