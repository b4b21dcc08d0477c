/// A QMP server on a socket of its own, its io_context on a thread of its own, and clients of it.
#pragma once

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/error.hpp"
#include "tests/qmp_client.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/unit/qmp_conversation.hpp"
#include "vmm/control/qmp_server.hpp"

namespace viaduct::control {

class QmpWorld {
public:
    explicit QmpWorld(const Limits& limits = {})
        : server_(std::make_unique<QmpServer>(io_, commands_, limits)) {
        add_sample_commands(commands_);
        add_own_commands();
        server_->listen("unix:" + path());
        thread_ = std::thread([this] { io_.run(); });
    }
    QmpWorld(const QmpWorld&) = delete;
    QmpWorld& operator=(const QmpWorld&) = delete;
    ~QmpWorld() { stop(); }

    /// Ends the thread and the server, whatever goes on.
    void stop() {
        io_.stop();
        if (thread_.joinable()) thread_.join();
        server_.reset();
    }

    [[nodiscard]] std::string path() const { return directory_.path("qmp"); }
    QmpServer& server() { return *server_; }

    [[nodiscard]] std::unique_ptr<tests::QmpClient> stranger() const {
        return std::make_unique<tests::QmpClient>(path());
    }
    [[nodiscard]] std::unique_ptr<tests::QmpClient> client() const {
        auto client = stranger();
        client->negotiate();
        return client;
    }

    /// On the server's own thread. Throws Error with the text that the server's had: an exception
    /// itself does not cross threads, its reference count is hidden from the thread sanitizer.
    void listen(const std::string& address) {
        std::promise<std::optional<std::string>> done;
        boost::asio::post(io_, [&] {
            std::optional<std::string> refusal;
            try {
                server_->listen(address);
            } catch (const Error& error) {
                refusal = error.what();
            }
            done.set_value(refusal);
        });
        if (const auto refusal = done.get_future().get()) throw Error(*refusal);
    }

    /// Lets the commands `wait` return.
    void release() {
        boost::asio::post(io_, [this] { released_.cancel(); });
    }

    /// Returns when all that was posted to the server's thread before has been done.
    void settle() {
        std::promise<void> done;
        boost::asio::post(io_, [&] { done.set_value(); });
        done.get_future().wait();
    }

    /// The server has said goodbye to everybody.
    std::future<void> finish() {
        auto done = std::make_shared<std::promise<void>>();
        server_->finish([done] { done->set_value(); });
        return done->get_future();
    }

private:
    void add_own_commands() {
        commands_.add(
            {.name = "wait",
             .doc = "Wait until the test releases it.",
             .run = [this](const Arguments&) -> boost::asio::awaitable<boost::json::value> {
                 boost::system::error_code cancelled;
                 co_await released_.async_wait(
                     boost::asio::redirect_error(boost::asio::use_awaitable, cancelled));
                 co_return "released";
             }});
        commands_.add(
            {.name = "say",
             .doc = "Return that many letters.",
             .parameters = {{.name = "letters", .type = ArgumentType::integer, .doc = ""}},
             .run = [](const Arguments& arguments) -> boost::json::value {
                 const auto letters = arguments.get<std::int64_t>("letters");
                 return boost::json::string(static_cast<std::size_t>(letters), 'x');
             }});
        commands_.add({.name = "stop",
                       .doc = "Emit STOP.",
                       .run = [this](const Arguments&) -> boost::json::value {
                           server_->emit("STOP");
                           return boost::json::object{};
                       }});
        commands_.add({.name = "quit",
                       .doc = "Emit SHUTDOWN and finish.",
                       .run = [this](const Arguments&) -> boost::json::value {
                           server_->emit("SHUTDOWN", {{"guest", false}});
                           server_->finish([this] { io_.stop(); });
                           return boost::json::object{};
                       }});
    }

    test::TemporaryDirectory directory_;
    CommandTable commands_;
    boost::asio::io_context io_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
        io_.get_executor()};
    boost::asio::steady_timer released_{io_, boost::asio::steady_timer::time_point::max()};
    std::unique_ptr<QmpServer> server_;
    std::thread thread_;
};

}  // namespace viaduct::control
