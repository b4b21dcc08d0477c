#include "vdpa/export/daemon.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/core.h>

#include "base/error.hpp"
#include "base/interrupts.hpp"
#include "base/listening_socket.hpp"
#include "base/log.hpp"
#include "base/log_allowance.hpp"
#include "vdpa/export/control_socket.hpp"
#include "vdpa/export/exporter.hpp"
#include "vdpa/export/service_manager.hpp"

namespace viaduct::vduse {
namespace {

/// How often to look whether a device that shall go is free.
constexpr std::chrono::milliseconds look_again{200};

class Daemon {
public:
    explicit Daemon(const ExportOptions& options)
        : name_(options.name), exporter_(options), control_(state_folder, options.name) {}

    void run() {
        announce();
        while (!done_) {
            std::array waiting{pollfd{interrupts_.fd(), POLLIN, 0},
                               pollfd{control_.fd(), POLLIN, 0}};
            const int limit = ending_ ? static_cast<int>(look_again.count()) : -1;
            if (::poll(waiting.data(), waiting.size(), limit) < 0 && errno != EINTR) {
                throw SystemError("poll");
            }
            if ((waiting[0].revents & POLLIN) != 0) on_signal();
            if ((waiting[1].revents & POLLIN) != 0) serve_client();
            if (ending_ && !done_ && exporter_.users().empty()) remove();
        }
    }

private:
    void announce() const {
        fmt::print("{}\n", exporter_.node());
        std::fflush(stdout);
        if (exporter_.is_taken_over()) {
            log::warning("{}: goes on where the daemon before it was ended", name_);
        }
        notify_service_manager(fmt::format("READY=1\nSTATUS={} is {}", name_, exporter_.node()));
    }

    void on_signal() {
        signalfd_siginfo signal{};
        if (::read(interrupts_.fd(), &signal, sizeof(signal)) != sizeof(signal)) return;
        if (ending_) {
            log::warning("{}: ends at once; the device stays, and waits for the next daemon",
                         name_);
            done_ = true;
            return;
        }
        ending_ = true;
        notify_service_manager("STOPPING=1");
        const auto users = exporter_.users();
        if (users.empty()) return;
        log::warning(
            "{} is in use by {}: it goes when they are done (a second signal leaves it to "
            "the next daemon)",
            name_, management::text_of(users));
    }

    void serve_client() {
        try {
            control_.serve([this](const std::string& request) { return answer(request); });
        } catch (const Error& failure) {
            // Out of descriptors, say. Whoever waits is seen again; the disk does not end for that.
            failures_.warning("{}: {}", name_, failure.what());
            std::this_thread::sleep_for(ListeningSocket::rest);
        }
    }

    std::string answer(const std::string& request) {
        if (request == "resize") return fmt::format("{}", exporter_.grow());
        if (request != "stop") throw Error("'{}' is not understood", request);
        const auto users = exporter_.users();
        if (!users.empty()) {
            throw Error("{} is in use by {}: end that first", name_, management::text_of(users));
        }
        notify_service_manager("STOPPING=1");
        remove();
        return name_ + " is gone";
    }

    void remove() {
        exporter_.remove();
        done_ = true;
    }

    std::string name_;
    LogAllowance failures_{fmt::format("export '{}', control socket", name_)};
    Interrupts interrupts_;  // before any thread: they inherit what it blocks
    Exporter exporter_;
    ControlSocket control_;
    bool ending_ = false;
    bool done_ = false;
};

}  // namespace

void run_daemon(const ExportOptions& options) {
    Daemon(options).run();
}

}  // namespace viaduct::vduse
