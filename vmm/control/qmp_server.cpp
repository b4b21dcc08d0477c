#include "vmm/control/qmp_server.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/log_allowance.hpp"
#include "base/own_descriptor.hpp"
#include "base/tcp_listener.hpp"
#include "base/unix_listener.hpp"
#include "vmm/control/address.hpp"
#include "vmm/control/connection.hpp"
#include "vmm/control/wire_text.hpp"

namespace viaduct::control {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

constexpr auto option = "--qmp";

json::object timestamp() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now);
    const auto rest_of_it = std::chrono::duration_cast<std::chrono::microseconds>(now - seconds);
    return {{"seconds", seconds.count()}, {"microseconds", rest_of_it.count()}};
}

/// A listening socket and how its clients are treated.
struct Listener {
    Listener(asio::io_context& io, std::unique_ptr<ListeningSocket> listening, const Limits& of_all)
        : socket(std::move(listening)), limits(of_all), waiter(io) {
        // Asio closes what it is given, so it gets a descriptor of its own.
        const int own = ::fcntl(socket->fd(), F_DUPFD_CLOEXEC, 0);
        if (own < 0) throw SystemError("duplicating a listening socket");
        waiter.assign(own);
    }

    void close() noexcept {
        boost::system::error_code ignored;
        waiter.close(ignored);
        socket->close();
    }

    std::unique_ptr<ListeningSocket> socket;
    Limits limits;
    asio::posix::stream_descriptor waiter;
};

}  // namespace

/// The server's state on the io_context's thread. Its coroutines hold it, as they may be resumed
/// once more after the server is gone.
class QmpServer::Hub : public std::enable_shared_from_this<Hub> {
public:
    Hub(asio::io_context& io, const CommandTable& commands, const Limits& limits)
        : io_(io), commands_(commands), limits_(limits), progress_(io) {}

    void open(const UnixAddress& address) {
        accept_from(std::make_unique<UnixListener>(option, address.path), limits_);
    }

    void open(const LoopbackAddress& address) {
        auto socket = std::make_unique<TcpListener>(option, address);
        if (address.port == 0) fmt::print(stderr, "qmp: {}\n", socket->address());
        Limits limits = limits_;
        limits.json_from_the_start = true;
        accept_from(std::move(socket), limits);
    }

    void open(const StdioAddress& /*address*/) {
        Fd in = own_descriptor(STDIN_FILENO, O_RDONLY);
        Fd out = own_descriptor(STDOUT_FILENO, O_WRONLY);
        if (!in || !out) {
            throw Error("--qmp stdio: standard {} is closed: give one, or use unix:PATH",
                        in ? "output" : "input");
        }
        serve(descriptor_stream(io_.get_executor(), std::move(in), std::move(out)), "stdio",
              limits_);
    }

    void broadcast(std::string_view event) {
        // A client that is dropped here stays in the set until its coroutine ends.
        for (const auto& connection : connections_) connection->deliver(event);
    }

    void finish(std::function<void()> done) {
        asio::co_spawn(io_, say_farewell(),
                       [done = std::move(done)](const std::exception_ptr&) { done(); });
    }

    void close() noexcept {
        stop_listening();
        // Closing tells us of progress, and a coroutine that ends removes its connection.
        const auto connections = std::exchange(connections_, {});
        for (const auto& connection : connections) connection->close();
    }

private:
    void accept_from(std::unique_ptr<ListeningSocket> socket, const Limits& limits) {
        auto listener = std::make_shared<Listener>(io_, std::move(socket), limits);
        listeners_.push_back(listener);
        asio::co_spawn(io_, accept_clients(std::move(listener)), asio::detached);
    }

    asio::awaitable<void> say_farewell() {
        const auto self = shared_from_this();
        stop_listening();
        for (const auto& connection : connections_) connection->stop_taking();
        progress_.expires_after(limits_.farewell);
        while (!std::ranges::all_of(connections_, &Connection::quiet)) {
            const auto [interrupted] = co_await progress_.async_wait(as_result);
            if (!interrupted) break;
        }
        close();
    }

    asio::awaitable<void> accept_clients(std::shared_ptr<Listener> listener) {
        const auto self = shared_from_this();
        while (listener->waiter.is_open()) {
            const auto [error] = co_await listener->waiter.async_wait(
                asio::posix::stream_descriptor::wait_read, as_result);
            if (error || !listener->waiter.is_open()) co_return;
            if (accept_waiting(*listener)) continue;
            asio::steady_timer pause(io_, ListeningSocket::rest);
            co_await pause.async_wait(as_result);
        }
    }

    /// False when there is nothing left to accept with.
    bool accept_waiting(Listener& listener) {
        try {
            while (const auto client = listener.socket->accept()) admit(client, listener);
            return true;
        } catch (const std::exception& error) {
            failures_.warning("{}", error.what());
            return false;
        }
    }

    void admit(const Fd& client, const Listener& listener) {
        const auto name =
            fmt::format("client {} of {}", ++clients_seen_, listener.socket->address());
        if (connections_.size() >= limits_.clients) {
            log::warning("qmp: {}: closed: {} clients are connected already", name,
                         connections_.size());
            return;
        }
        serve(socket_stream(io_.get_executor(), client), name, listener.limits);
    }

    void serve(std::unique_ptr<ByteStream> stream, const std::string& name, const Limits& limits) {
        const auto connection =
            std::make_shared<Connection>(io_.get_executor(), std::move(stream), commands_, limits,
                                         name, [weak = weak_from_this()] {
                                             if (const auto hub = weak.lock())
                                                 hub->progress_.cancel();
                                         });
        connections_.insert(connection);
        asio::co_spawn(io_, connection->serve(),
                       [self = shared_from_this(), connection](const std::exception_ptr&) {
                           connection->close();
                           self->connections_.erase(connection);
                       });
    }

    void stop_listening() noexcept {
        for (const auto& listener : listeners_) listener->close();
        listeners_.clear();
    }

    asio::io_context& io_;
    const CommandTable& commands_;
    Limits limits_;
    std::vector<std::shared_ptr<Listener>> listeners_;
    std::set<std::shared_ptr<Connection>> connections_;
    std::size_t clients_seen_ = 0;
    LogAllowance failures_{"qmp"};
    asio::steady_timer progress_;  // cancelled when a connection may have become quiet
};

QmpServer::QmpServer(asio::io_context& io, const CommandTable& commands, const Limits& limits)
    : io_(io), commands_(commands), limits_(limits) {}

QmpServer::~QmpServer() {
    if (hub_) hub_->close();
}

void QmpServer::listen(std::string_view address) {
    if (!hub_) hub_ = std::make_shared<Hub>(io_, commands_, limits_);
    std::visit([this](const auto& parsed) { hub_->open(parsed); }, parse_address(address));
}

void QmpServer::emit(std::string_view event) {
    emit(event, {});
}

void QmpServer::emit(std::string_view event, json::object content) {
    if (!hub_) return;
    json::object message{{"timestamp", timestamp()}, {"event", event}};
    if (!content.empty()) message.emplace("data", std::move(content));
    // On the io_context's own thread at once: as in QEMU, `stop` sees STOP before its answer.
    asio::dispatch(io_, [weak = std::weak_ptr(hub_), text = wire_text(message)] {
        if (const auto hub = weak.lock()) hub->broadcast(text);
    });
}

void QmpServer::finish(std::function<void()> done) {
    if (!hub_) {
        asio::post(io_, std::move(done));
        return;
    }
    asio::post(io_,
               [hub = hub_, done = std::move(done)]() mutable { hub->finish(std::move(done)); });
}

}  // namespace viaduct::control
