/// A driver's load whose content is compared, for disks that are disturbed meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"

namespace viaduct::test {

/// Writes, reads back and compares in one place of the disk, eight requests at a time.
class VerifiedLoad {
public:
    static constexpr unsigned depth = 8;
    static constexpr std::size_t length = 4096;

    /// `patience`: with one request.
    explicit VerifiedLoad(SoftDisk& disk, unsigned queue = 0,
                          std::chrono::seconds patience = std::chrono::seconds(10))
        : disk_(disk), queue_(queue), patience_(patience) {
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
    /// Whether a round that begins from now on is done in ten seconds.
    [[nodiscard]] bool goes_on() const {
        const unsigned before = rounds_;
        return eventually([&] { return rounds_ > before + 1; });
    }

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
        for (unsigned i = 0; i < depth; ++i) {
            ASSERT_TRUE(disk_.driver(queue_).wait_used(patience_));
        }
        for (const auto& request : requests) {
            ASSERT_EQ(disk_.memory().load<std::uint8_t>(request.status), VIRTIO_BLK_S_OK);
        }
    }

    SoftDisk& disk_;
    unsigned queue_;
    std::chrono::seconds patience_;
    std::vector<Iova> buffers_;
    std::atomic<unsigned> rounds_ = 0;
};

}  // namespace viaduct::test
