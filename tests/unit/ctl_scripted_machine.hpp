/// A QMP server that says what a test tells it to: a thread behind a unix socket that takes one
/// client and plays its part.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/support/temporary_directory.hpp"
#include "vmm/ctl/address.hpp"

namespace viaduct::ctl {

/// The server's end of a conversation.
class Peer {
public:
    explicit Peer(Fd socket) : socket_(std::move(socket)) {}

    /// As it is; nothing happens when the client has gone.
    void say(std::string_view bytes) const {
        (void)::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }

    void answer(const boost::json::value& value) const {
        say(boost::json::serialize(boost::json::object{{"return", value}}) + "\r\n");
    }

    void greet() const {
        say(R"({"QMP": {"version": {"package": "test"}, "capabilities": []}})"
            "\r\n");
    }

    /// The client's next request; nothing when it has hung up.
    [[nodiscard]] std::optional<boost::json::object> request() {
        while (true) {
            if (const auto end = received_.find('\n'); end != std::string::npos) {
                auto message = boost::json::parse(received_.substr(0, end)).as_object();
                received_.erase(0, end + 1);
                return message;
            }
            std::array<char, 4096> chunk{};
            const auto size = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
            if (size <= 0) return std::nullopt;
            received_.append(chunk.data(), static_cast<std::size_t>(size));
        }
    }

    /// Greeting and negotiation, as every good machine does them.
    void begin() {
        greet();
        if (request()) answer(boost::json::object{});
    }

private:
    Fd socket_;
    std::string received_;
};

class ScriptedMachine {
public:
    using Part = std::function<void(Peer&)>;

    explicit ScriptedMachine(Part part) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::ranges::copy(path(), address.sun_path);
        // The sockets API takes every family's address by its common header.
        if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
                0 ||
            ::listen(socket_.get(), 1) != 0) {
            throw SystemError("a test's socket");
        }
        thread_ = std::thread([this, part = std::move(part)] {
            Fd client(::accept(socket_.get(), nullptr, nullptr));
            if (!client) return;
            Peer peer(std::move(client));
            part(peer);
        });
    }
    ScriptedMachine(const ScriptedMachine&) = delete;
    ScriptedMachine& operator=(const ScriptedMachine&) = delete;
    ~ScriptedMachine() {
        // Wakes an accept() that nobody came for.
        (void)::shutdown(socket_.get(), SHUT_RDWR);
        thread_.join();
    }

    [[nodiscard]] std::string path() const { return directory_.path("qmp"); }
    [[nodiscard]] Address address() const { return UnixAddress{path()}; }

private:
    test::TemporaryDirectory directory_;
    Fd socket_;
    std::thread thread_;
};

/// A machine that knows some commands and always answers the same: `{"query-status": {…}}`. It
/// remembers what it was asked.
class AnsweringMachine {
public:
    explicit AnsweringMachine(std::map<std::string, boost::json::value> answers)
        : answers_(std::move(answers)), machine_([this](Peer& peer) { serve(peer); }) {}

    [[nodiscard]] std::string path() const { return machine_.path(); }

    [[nodiscard]] std::vector<boost::json::object> requests() const {
        const std::scoped_lock lock(mutex_);
        return requests_;
    }

private:
    void serve(Peer& peer) {
        peer.begin();
        while (auto request = peer.request()) {
            const std::string name(request->at("execute").as_string());
            {
                const std::scoped_lock lock(mutex_);
                requests_.push_back(std::move(*request));
            }
            if (const auto known = answers_.find(name); known != answers_.end()) {
                peer.answer(known->second);
            } else {
                peer.say(R"({"error": {"class": "CommandNotFound", "desc": "The command )" + name +
                         R"( has not been found"}})"
                         "\r\n");
            }
        }
    }

    std::map<std::string, boost::json::value> answers_;
    mutable std::mutex mutex_;
    std::vector<boost::json::object> requests_;
    ScriptedMachine machine_;
};

}  // namespace viaduct::ctl
