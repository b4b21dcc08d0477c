/// Suspend, resume and reset, with requests in flight.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"
#include "tests/unit/soft_held_image.hpp"

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::eventually;
using test::random_bytes;
using test::SoftDisk;
using test::TemporaryImage;

vdpa::RingState at(std::uint16_t index) {
    return vdpa::SplitRingState{index};
}

class HeldDisk : public testing::Test {
protected:
    HeldDisk() { disk_.start(); }

    test::PostedRequest post_and_wait_until_in_flight() {
        const std::uint64_t before = device().counters(0).requests.load();
        const auto request = disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
        driver().publish_and_kick();
        EXPECT_TRUE(eventually([&] { return device().counters(0).requests.load() == before + 1; }));
        return request;
    }
    SoftDevice& device() { return disk_.device(); }
    test::RingDriver& driver() { return disk_.driver(); }

    test::HeldImage::Gate gate_;
    SoftDisk disk_{
        std::make_unique<SoftDevice>(std::make_unique<test::HeldImage>(gate_), SoftDeviceOptions{}),
        16};
    Iova buffer_ = disk_.put(Bytes(512, std::byte{0xcc}));
};

TEST_F(HeldDisk, ResetDoesNotWaitForARequestThatCanBeCancelledNorTouchMemoryAfterwards) {
    const auto request = post_and_wait_until_in_flight();
    device().reset();
    gate_.release(Bytes(512, std::byte{0x77}));
    ::usleep(20'000);
    EXPECT_EQ(disk_.get(buffer_, 512), Bytes(512, std::byte{0xcc}));
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(request.status), 0xee);
    EXPECT_EQ(driver().ring().used_idx().load(), 0);
    EXPECT_FALSE(driver().call_event().pending());
    Bytes left(512);
    EXPECT_EQ(::read(gate_.read_end(), left.data(), left.size()), 512) << "somebody read it";
}

TEST_F(HeldDisk, ClosingTheDeviceCancelsToo) {
    post_and_wait_until_in_flight();
    SUCCEED() << "the destructors return";
}

TEST_F(HeldDisk, SuspendTakesNoMoreAndLeavesWhatIsInFlightToFinish) {
    const auto first = post_and_wait_until_in_flight();
    device().suspend();
    EXPECT_EQ(device().ring_state(0), at(1));
    EXPECT_EQ(driver().ring().used_idx().load(), 0);
    disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
    driver().publish();
    driver().kick();
    gate_.release(Bytes(1024, std::byte{0x77}));
    ASSERT_TRUE(driver().wait_used());
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(first.status), VIRTIO_BLK_S_OK);
    EXPECT_FALSE(driver().wait_used(std::chrono::milliseconds(30))) << "it took one more";
    EXPECT_EQ(device().ring_state(0), at(1));
    device().resume();
    EXPECT_TRUE(driver().wait_used());
}

TEST_F(HeldDisk, ResumesWithWhatIsStillInFlight) {
    post_and_wait_until_in_flight();
    for (unsigned round = 0; round < 3; ++round) {
        device().suspend();
        EXPECT_EQ(device().ring_state(0), at(1));
        device().resume();
    }
    disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
    driver().publish_and_kick();
    gate_.release(Bytes(1024, std::byte{0x77}));
    EXPECT_TRUE(driver().wait_used());
    EXPECT_TRUE(driver().wait_used());
}

TEST_F(HeldDisk, ResetOfASuspendedDeviceCancelsWhatIsInFlight) {
    const auto request = post_and_wait_until_in_flight();
    device().suspend();
    device().reset();
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(request.status), 0xee);
    EXPECT_EQ(driver().ring().used_idx().load(), 0);
}

TEST_F(HeldDisk, ASuspendedRingThatIsChangedHasNothingInFlight) {
    post_and_wait_until_in_flight();
    device().suspend();
    std::thread image([&] {
        ::usleep(20'000);
        gate_.release(Bytes(512, std::byte{0x77}));
    });
    device().set_ring_state(0, at(1));
    EXPECT_EQ(driver().ring().used_idx().load(), 1);
    image.join();
    device().resume();
    gate_.release(Bytes(512, std::byte{0x77}));
    EXPECT_TRUE(driver().take_used());
    disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
    driver().publish_and_kick();
    EXPECT_TRUE(driver().wait_used());
}

TEST_F(HeldDisk, ResumeTakesWhatCameMeanwhileWithoutAKick) {
    device().suspend();
    gate_.release(Bytes(512, std::byte{0x77}));
    const auto request = disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
    driver().publish();
    EXPECT_FALSE(driver().wait_used(std::chrono::milliseconds(30)));
    device().resume();
    ASSERT_TRUE(driver().wait_used());
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(request.status), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk_.get(buffer_, 512), Bytes(512, std::byte{0x77}));
}

TEST(SoftDurability, IsAskedForEveryWriteOfADriverThatCannotFlushAndOfNoOther) {
    for (const bool can_flush : {false, true}) {
        test::HeldImage::Gate gate;
        SoftDisk disk(std::make_unique<SoftDevice>(std::make_unique<test::HeldImage>(gate),
                                                   SoftDeviceOptions{}));
        gate.durable = can_flush;
        if (can_flush) {
            disk.start();
        } else {
            disk.start_without(VIRTIO_BLK_F_FLUSH);
        }
        gate.release(Bytes(512));
        EXPECT_EQ(disk.write(0, Bytes(512)), VIRTIO_BLK_S_OK);
        EXPECT_EQ(gate.durable, !can_flush);
    }
}

/// Writes and reads back until told to stop.
class Load {
public:
    Load(SoftDisk& disk, unsigned queue) : disk_(disk), queue_(queue) {}
    void run(const std::atomic<bool>& stop) {
        constexpr unsigned depth = 8;
        for (unsigned i = 0; i < depth; ++i) buffers_.push_back(disk_.memory().allocate(4096));
        // As much memory as there is for headers and statuses.
        for (unsigned round = 0; !stop && round < 2000; ++round, ++rounds_) {
            for (unsigned i = 0; i < depth; ++i) fill(buffers_[i], round + i);
            run_all(VIRTIO_BLK_T_OUT);
            for (unsigned i = 0; i < depth; ++i) fill(buffers_[i], 0xdead);
            run_all(VIRTIO_BLK_T_IN);
            for (unsigned i = 0; i < depth; ++i) {
                ASSERT_EQ(disk_.memory().load<std::uint32_t>(buffers_[i] + 4092), round + i);
            }
        }
    }
    [[nodiscard]] unsigned rounds() const { return rounds_; }

private:
    void fill(Iova buffer, std::uint32_t value) {
        for (unsigned i = 0; i < 1024; ++i) disk_.memory().store(buffer + i * 4ULL, value);
    }
    void run_all(std::uint32_t type) {
        std::vector<test::PostedRequest> requests;
        for (unsigned i = 0; i < buffers_.size(); ++i) {
            requests.push_back(disk_.post(queue_, type, 1024 * queue_ + i * 8, buffers_[i], 4096));
            disk_.driver(queue_).publish_and_kick();
        }
        for (unsigned i = 0; i < buffers_.size(); ++i) {
            ASSERT_TRUE(disk_.driver(queue_).wait_used()) << "a request or a call was lost";
        }
        for (const auto& request : requests) {
            ASSERT_EQ(disk_.memory().load<std::uint8_t>(request.status), VIRTIO_BLK_S_OK);
        }
    }

    SoftDisk& disk_;
    unsigned queue_;
    std::vector<Iova> buffers_;
    unsigned rounds_ = 0;
};

struct Kind {
    const char* folder;
    bool event_idx;
};

class DiskUnderLoad : public testing::TestWithParam<Kind> {
protected:
    SoftDeviceOptions options() const {
        SoftDeviceOptions options;
        options.image = file_.path();
        options.queues = 2;
        return options;
    }

    TemporaryImage file_{GetParam().folder};
    SoftDisk disk_{options(), 64, GetParam().event_idx};
};

INSTANTIATE_TEST_SUITE_P(Kinds, DiskUnderLoad,
                         testing::Values(Kind{"/dev/shm", true}, Kind{"/dev/shm", false},
                                         Kind{"/var/tmp", true}));

TEST_P(DiskUnderLoad, SuspendsAndResumesFiftyTimesWithoutLosingARequest) {
    disk_.driver(0).start_at(virtio::RingIndex(65000));
    disk_.driver(1).start_at(virtio::RingIndex(65000));
    disk_.start(virtio::RingIndex(65000));
    std::atomic<bool> stop = false;
    Load first(disk_, 0);
    Load second(disk_, 1);
    std::thread first_thread([&] { first.run(stop); });
    std::thread second_thread([&] { second.run(stop); });
    for (unsigned i = 0; i < 50; ++i) {
        ::usleep(1000);
        disk_.device().suspend();
        for (unsigned queue = 0; queue < 2; ++queue) {
            const virtio::SplitRing& ring = disk_.driver(queue).ring();
            const auto state = disk_.device().ring_state(queue);
            EXPECT_TRUE(eventually([&] { return state == at(ring.used_idx().load()); }));
            const std::uint16_t used = ring.used_idx().load();
            EXPECT_EQ(GetParam().event_idx ? ring.avail_event().load() : ring.used_flags().load(),
                      GetParam().event_idx ? used : 0)
                << "whoever takes over must hear of the next request";
        }
        disk_.device().resume();
    }
    stop = true;
    first_thread.join();
    second_thread.join();
    EXPECT_GT(first.rounds(), 0U);
    EXPECT_GT(second.rounds(), 0U);
}

TEST_P(DiskUnderLoad, IsResetInTheMiddleOfIoTwentyTimes) {
    constexpr std::size_t length = std::size_t{64} * 512;
    const Bytes content = random_bytes(8 * length, 11);
    file_.write(0, content);
    for (unsigned round = 0; round < 20; ++round) {
        disk_.driver(0).start_at({});
        disk_.start();
        std::vector<Iova> buffers;
        for (unsigned i = 0; i < 10; ++i) {
            buffers.push_back(disk_.memory().allocate(length));
            disk_.post(0, VIRTIO_BLK_T_IN, std::uint64_t{i} * 8, buffers.back(), length);
        }
        disk_.driver(0).publish_and_kick();
        if (round % 2 != 0) ::usleep(200 * round);
        disk_.device().reset();
        // The guest has its memory back: nothing may change it any more.
        const std::uint16_t used = disk_.driver(0).ring().used_idx().load();
        for (const Iova buffer : buffers) {
            const auto bytes = disk_.memory().at(buffer, length);
            std::fill(bytes.begin(), bytes.end(), std::byte{0x5a});
        }
        ::usleep(2000);
        for (const Iova buffer : buffers) {
            ASSERT_EQ(disk_.get(buffer, length), Bytes(length, std::byte{0x5a}));
        }
        ASSERT_EQ(disk_.driver(0).ring().used_idx().load(), used);
        while (disk_.driver(0).take_used()) {
        }
        disk_.driver(0).forget_outstanding();
    }
    disk_.driver(0).start_at({});
    disk_.start();
    const Iova buffer = disk_.memory().allocate(4096);
    EXPECT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 8, buffer, 4096), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk_.get(buffer, 4096), Bytes(content.begin() + 4096, content.begin() + 8192));
}

}  // namespace
}  // namespace viaduct::soft
