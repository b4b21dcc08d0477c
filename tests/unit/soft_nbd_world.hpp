/// Real NBD servers on unix sockets, and embedded disks over their exports.
#pragma once

#include <atomic>
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

/// Writes, reads back and compares in one place of the disk, eight requests at a time.
class NbdLoad {
public:
    static constexpr unsigned depth = 8;
    static constexpr std::size_t length = 4096;

    NbdLoad(SoftDisk& disk, unsigned queue = 0) : disk_(disk), queue_(queue) {
        for (unsigned i = 0; i < depth; ++i) buffers_.push_back(disk_.memory().allocate(length));
    }
    void round() {
        ++rounds_;
        for (unsigned i = 0; i < depth; ++i) fill(i, rounds_ * depth + i);
        run_all(VIRTIO_BLK_T_OUT);
        for (unsigned i = 0; i < depth; ++i) fill(i, 0xdead);
        run_all(VIRTIO_BLK_T_IN);
        for (unsigned i = 0; i < depth; ++i) {
            for (const std::size_t at : {std::size_t{0}, length - 4}) {
                ASSERT_EQ(disk_.memory().load<std::uint32_t>(buffers_[i] + at),
                          rounds_ * depth + i);
            }
        }
    }
    void run(const std::atomic<bool>& stop) {
        while (!stop && !testing::Test::HasFailure()) round();
    }
    [[nodiscard]] unsigned rounds() const { return rounds_; }

private:
    void fill(unsigned buffer, std::uint32_t value) {
        for (std::size_t at = 0; at < length; at += 4) {
            disk_.memory().store(buffers_[buffer] + at, value);
        }
    }
    void run_all(std::uint32_t type) {
        std::vector<PostedRequest> requests;
        for (unsigned i = 0; i < depth; ++i) {
            const std::uint64_t first = 4096ULL * queue_ + std::uint64_t{i} * 8;
            requests.push_back(disk_.post(queue_, type, first, buffers_[i], length));
            disk_.driver(queue_).publish_and_kick();
        }
        for (unsigned i = 0; i < depth; ++i) ASSERT_TRUE(disk_.driver(queue_).wait_used());
        for (const auto& request : requests) {
            ASSERT_EQ(disk_.memory().load<std::uint8_t>(request.status), VIRTIO_BLK_S_OK);
        }
    }

    SoftDisk& disk_;
    unsigned queue_;
    std::vector<Iova> buffers_;
    std::atomic<unsigned> rounds_ = 0;
};

}  // namespace viaduct::test
