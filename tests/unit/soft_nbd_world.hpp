/// Real NBD servers on unix sockets, and embedded disks over their exports.
#pragma once

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.hpp"
#include "tests/support/vm_process.hpp"
#include "tests/unit/soft_disk.hpp"
#include "tests/unit/verified_load.hpp"
#include "vdpa/soft/image/nbd/nbd_image.hpp"
#include "vdpa/soft/soft_device.hpp"

namespace viaduct::test {

class NbdServer {
public:
    enum class Kind { nbdkit, qemu };

    /// `arguments`: of nbdkit, its filters, plug-in and parameters; of qemu-nbd, its options and
    /// the file. It runs from now on.
    NbdServer(Kind kind, std::vector<std::string> arguments)
        : kind_(kind), arguments_(std::move(arguments)) {
        start();
    }

    [[nodiscard]] std::string socket() const { return directory_.path("socket"); }
    [[nodiscard]] std::string uri() const { return "nbd+unix:///?socket=" + socket(); }

    void start() {
        std::filesystem::remove(socket());
        std::filesystem::remove(ready());
        std::vector<std::string> command;
        if (kind_ == Kind::nbdkit) {
            command = {"nbdkit", "-f", "-U", socket(), "-P", ready()};
        } else {
            command = {"qemu-nbd", "-k", socket(), "--pid-file=" + ready()};
        }
        command.insert(command.end(), arguments_.begin(), arguments_.end());
        process_ = std::make_unique<Process>(command, Seconds(600));
        // Both write it when they listen.
        const bool listens =
            eventually([&] { return std::filesystem::exists(ready()) || !process_->running(); });
        if (!listens || !process_->running()) throw Error("{}", process_->err());
    }
    void kill() {
        process_->send_signal(SIGKILL);
        (void)process_->wait();
        process_.reset();
    }
    [[nodiscard]] bool running() const { return process_ && process_->running(); }
    void change_arguments(std::vector<std::string> arguments) { arguments_ = std::move(arguments); }

private:
    [[nodiscard]] std::string ready() const { return directory_.path("pid"); }

    Kind kind_;
    std::vector<std::string> arguments_;
    TemporaryDirectory directory_;
    std::unique_ptr<Process> process_;
};

inline NbdServer nbdkit(std::vector<std::string> arguments) {
    return {NbdServer::Kind::nbdkit, std::move(arguments)};
}

inline soft::SoftDeviceOptions options_for(const NbdServer& server, unsigned queues = 1) {
    soft::provide_nbd();
    soft::SoftDeviceOptions options;
    options.image = server.uri();
    options.queues = queues;
    return options;
}

}  // namespace viaduct::test
