#include "tests/qmp_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "tests/support/thread_states.hpp"

namespace viaduct::tests {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

Fd try_connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw Error("{}: the path is too long", path);
    std::ranges::copy(path, address.sun_path);
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) throw SystemError("socket");
    // The sockets API takes every family's address by its common header.
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return socket;
    }
    if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) {
        throw SystemError("connecting to " + path);
    }
    return {};
}

Fd connect(const std::string& path, Clock::time_point deadline) {
    constexpr std::chrono::milliseconds between_tries{2};
    while (true) {
        if (auto socket = try_connect(path)) return socket;
        if (Clock::now() >= deadline) throw Error("nobody listens on {}", path);
        std::this_thread::sleep_for(between_tries);
    }
}

bool wait_readable(int fd, Clock::time_point deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&waited, 1, static_cast<int>(std::max<decltype(left)>(left, 0))) > 0;
}

/// What the server's threads are doing, where it is another process on this host.
std::string states_of_server(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {};
    return peer.pid <= 0 || peer.pid == ::getpid() ? "" : "\n" + test::thread_states(peer.pid);
}

}  // namespace

QmpClient::QmpClient(const std::string& path, Duration limit) {
    const auto deadline = Clock::now() + limit;
    socket_ = connect(path, deadline);
    receive_greeting(std::chrono::ceil<Duration>(deadline - Clock::now()));
}

QmpClient::QmpClient(Fd socket, Duration limit) : socket_(std::move(socket)) {
    receive_greeting(limit);
}

void QmpClient::receive_greeting(Duration limit) {
    auto greeting = receive(limit);
    if (!greeting) throw Error("the QMP server closed the connection without a greeting");
    greeting_ = std::move(*greeting);
}

json::value QmpClient::execute(std::string_view command, json::object arguments, Duration limit) {
    json::object request{{"execute", command}};
    if (!arguments.empty()) request.emplace("arguments", std::move(arguments));
    send(json::serialize(request) + "\n");
    const auto deadline = Clock::now() + limit;
    while (true) {
        auto message = receive(std::chrono::ceil<Duration>(deadline - Clock::now()));
        if (!message) throw Error("{}: the server closed the connection", command);
        if (message->contains("event")) {
            events_.push_back(std::move(*message));
        } else if (const auto* error = message->if_contains("error")) {
            const auto& refusal = error->as_object();
            throw QmpRefusal(std::string(refusal.at("class").as_string()),
                             std::string(refusal.at("desc").as_string()));
        } else {
            return message->at("return");
        }
    }
}

json::object QmpClient::wait_event(std::string_view name, Duration limit) {
    const auto deadline = Clock::now() + limit;
    while (true) {
        while (!events_.empty()) {
            auto event = std::move(events_.front());
            events_.pop_front();
            if (std::string_view(event.at("event").as_string()) == name) return event;
        }
        auto message = receive(std::chrono::ceil<Duration>(deadline - Clock::now()));
        if (!message) throw Error("no event {}: the server closed the connection", name);
        if (message->contains("event")) events_.push_back(std::move(*message));
    }
}

void QmpClient::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0) throw SystemError("sending to the QMP server");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

std::optional<json::object> QmpClient::receive(Duration limit) {
    const auto line = receive_line(limit);
    if (!line) return std::nullopt;
    return json::parse(*line).as_object();
}

std::optional<std::string> QmpClient::receive_line(Duration limit) {
    constexpr std::string_view line_end = "\r\n";
    const auto deadline = Clock::now() + limit;
    while (true) {
        if (const auto end = received_.find(line_end); end != std::string::npos) {
            auto line = received_.substr(0, end);
            received_.erase(0, end + line_end.size());
            return line;
        }
        if (!wait_readable(socket_.get(), deadline)) {
            throw Error("no message from the QMP server within {} ms{}", limit.count(),
                        states_of_server(socket_.get()));
        }
        std::array<char, 16384> chunk{};
        const auto size = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
        if (size < 0 && errno != ECONNRESET) throw SystemError("receiving from the QMP server");
        if (size <= 0) return std::nullopt;
        received_.append(chunk.data(), static_cast<std::size_t>(size));
    }
}

}  // namespace viaduct::tests
