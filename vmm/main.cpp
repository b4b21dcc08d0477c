/// `viaduct`: a machine from its command line, its console, its control sockets and the signals
/// that end it, on one io_context.
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/json/object.hpp>
#include <fmt/core.h>

#include "base/descriptor_limit.hpp"
#include "vmm/config.hpp"
#include "vmm/console/backend.hpp"
#include "vmm/control/commands/commands.hpp"
#include "vmm/control/qmp_server.hpp"
#include "vmm/device_opener.hpp"
#include "vmm/machine.hpp"
#include "vmm/programs/network_images.hpp"

namespace viaduct::vmm {
namespace {

/// Tells QMP clients what happens to the machine, and ends the program after it.
class EventReporter final : public Machine::Observer {
public:
    EventReporter(boost::asio::io_context& io, control::QmpServer& server)
        : io_(io), server_(server) {}

    void on_stop() override { server_.emit("STOP"); }
    void on_resume() override { server_.emit("RESUME"); }
    void on_reset(Cause cause) override { server_.emit("RESET", describe(cause)); }
    void on_device_broken(const std::string& id, const std::string& reason) override {
        server_.emit("VDPA_DEVICE_BROKEN", {{"id", id}, {"reason", reason}});
    }
    void on_datapath_changed(const std::string& id, const datapath::SwitchReport& report) override {
        auto content = control::describe(report);
        content["id"] = id;
        server_.emit("VDPA_DATAPATH_CHANGED", std::move(content));
    }
    void on_shutdown(Cause cause, int exit_status) override {
        exit_status_ = exit_status;
        server_.emit("SHUTDOWN", describe(cause));
        server_.finish([this] { io_.stop(); });
    }

    [[nodiscard]] int exit_status() const noexcept { return exit_status_; }

private:
    static boost::json::object describe(Cause cause) {
        return {{"guest", cause.guest}, {"reason", cause.reason}};
    }

    boost::asio::io_context& io_;
    control::QmpServer& server_;
    std::atomic<int> exit_status_ = 0;
};

/// The console's link to the machine's serial port, undone before the machine goes.
class ConsoleLink {
public:
    ConsoleLink(console::SerialBackend& console, Machine& machine) : console_(console) {
        console_.on_quit([&machine] { machine.shut_down(cause::host_ui, 0); });
        console_.attach(machine.serial());
    }
    ConsoleLink(const ConsoleLink&) = delete;
    ConsoleLink& operator=(const ConsoleLink&) = delete;
    ~ConsoleLink() { console_.detach(); }

private:
    console::SerialBackend& console_;
};

/// Signals that end the machine in order. A device may take its time over that: who asks again has
/// the program gone at once. Not in the same breath: a terminal that closes sends SIGHUP twice.
class EndingSignals {
public:
    explicit EndingSignals(boost::asio::io_context& io) : signals_(io, SIGTERM, SIGINT, SIGHUP) {}

    void serve(std::function<void()> end, std::function<void()> leave) {
        end_ = std::move(end);
        leave_ = std::move(leave);
        wait();
    }
    /// From now on a signal ends the process.
    void give_back() { signals_.clear(); }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds breath{1};

    void wait() {
        signals_.async_wait([this](const auto& error, int) {
            if (error) return;
            if (!first_) {
                first_ = Clock::now();
                end_();
            } else if (Clock::now() - *first_ >= breath) {
                leave_();
            }
            wait();
        });
    }

    boost::asio::signal_set signals_;
    std::function<void()> end_;
    std::function<void()> leave_;
    std::optional<Clock::time_point> first_;
};

/// The terminal is put back; all else the kernel closes.
[[noreturn]] void leave_at_once(console::SerialBackend& console) {
    console.detach();
    log::error("asked to end a second time: leaving without waiting for the devices");
    ::_exit(1);
}

int run(const Config& config) {
    log::set_level(config.log_level);
    boost::asio::io_context io(1);
    control::CommandTable commands;
    control::QmpServer server(io, commands);
    EventReporter reporter(io, server);
    const auto console = console::open_serial(config.serial, io);
    Machine machine(config, *console, reporter);
    // Until here a signal ends the process at once: a start may wait for a device that does not
    // answer, and has nothing to bring to rest (the next one clears --serial's socket away). From
    // here on, before a control socket is made or the terminal touched, and until it is put back,
    // no signal comes in between.
    EndingSignals signals(io);
    control::add_commands(commands, machine);
    for (const std::string& address : config.qmp) server.listen(address);
    {
        const ConsoleLink link(*console, machine);
        signals.serve([&] { machine.shut_down(cause::host_signal, 0); },
                      [&] { leave_at_once(*console); });
        const auto work = boost::asio::make_work_guard(io);
        machine.start();
        io.run();
    }
    signals.give_back();
    return reporter.exit_status();
}

}  // namespace
}  // namespace viaduct::vmm

int main(int argc, char** argv) {
    // One heap for all threads: none allocates on the data path, and each heap costs memory.
    ::mallopt(M_ARENA_MAX, 1);
    ::signal(SIGPIPE, SIG_IGN);
    viaduct::raise_descriptor_limit();
    try {
        const auto config = viaduct::vmm::parse_command_line(argc, argv);
        if (!config) return 0;
        if (config->prints_qmp_reference) {
            fmt::print("{}", viaduct::control::qmp_reference());
            return 0;
        }
        viaduct::vmm::check_handed_over(config->devices);
        viaduct::vmm::prepare_network_images(*config, argv);
        return viaduct::vmm::run(*config);
    } catch (const std::exception& failure) {
        fmt::print(stderr, "viaduct: {}\n", failure.what());
        return 1;
    }
}
