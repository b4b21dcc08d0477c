// Waiting until a device has used all that its driver made available.
#include "vdpa/datapath/drain.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/ring_driver.hpp"

namespace viaduct::datapath {
namespace {

using namespace std::chrono_literals;
using test::GuestMemory;
using test::RingDriver;

class Drain : public testing::Test {
protected:
    void make_available(RingDriver& driver, std::uint16_t count) {
        driver.ring().avail_idx().store(
            static_cast<std::uint16_t>(driver.ring().avail_idx().load() + count));
    }
    static void use_all(RingDriver& driver) {
        driver.ring().used_idx().store(driver.ring().avail_idx().load());
    }
    [[nodiscard]] std::vector<RingIndices> rings() const {
        return {RingIndices(memory_.space(), first_.setup()),
                RingIndices(memory_.space(), second_.setup())};
    }

    GuestMemory memory_;
    RingDriver first_{memory_, 16};
    RingDriver second_{memory_, 16};
};

TEST_F(Drain, FreshRingsAreIdle) {
    EXPECT_TRUE(wait_until_idle(rings(), 0ms));
}

TEST_F(Drain, NoRingsAreIdle) {
    EXPECT_TRUE(wait_until_idle({}, 0ms));
}

TEST_F(Drain, ARingIsIdleWhenUsedIdxEqualsAvailIdx) {
    const RingIndices ring(memory_.space(), first_.setup());
    make_available(first_, 3);
    EXPECT_FALSE(ring.idle());
    first_.ring().used_idx().store(2);
    EXPECT_FALSE(ring.idle());
    first_.ring().used_idx().store(3);
    EXPECT_TRUE(ring.idle());
}

TEST_F(Drain, IndicesWrapAt65536) {
    first_.start_at(virtio::RingIndex(0xffff));
    make_available(first_, 2);
    const RingIndices ring(memory_.space(), first_.setup());
    EXPECT_FALSE(ring.idle());
    first_.ring().used_idx().store(1);
    EXPECT_TRUE(ring.idle());
}

TEST_F(Drain, GivesUpAfterTheTimeout) {
    make_available(second_, 1);
    const auto before = std::chrono::steady_clock::now();
    EXPECT_FALSE(wait_until_idle(rings(), 20ms));
    EXPECT_GE(std::chrono::steady_clock::now() - before, 20ms);
}

TEST_F(Drain, WaitsForEveryRing) {
    make_available(first_, 2);
    make_available(second_, 1);
    use_all(second_);
    EXPECT_FALSE(wait_until_idle(rings(), 5ms));
    use_all(first_);
    make_available(second_, 1);
    EXPECT_FALSE(wait_until_idle(rings(), 5ms));
    use_all(second_);
    EXPECT_TRUE(wait_until_idle(rings(), 5ms));
}

TEST_F(Drain, WhatTheDeviceWroteForAUsedRequestIsSeenAfterIt) {
    make_available(first_, 1);
    const Iova buffer = memory_.allocate(8);
    std::thread device([&] {
        memory_.store(buffer, std::uint64_t{42});
        first_.ring().used_idx().store(1, std::memory_order_release);
    });
    EXPECT_TRUE(wait_until_idle(rings(), 20s));
    EXPECT_EQ(memory_.load<std::uint64_t>(buffer), 42U);  // a race for ThreadSanitizer otherwise
    device.join();
}

class RingsInMemory : public testing::Test {
protected:
    [[nodiscard]] bool accepted() const { return rings_in_memory(memory_.space(), setup_); }

    GuestMemory memory_{1 << 20, Iova{0x10'0000}};
    RingDriver driver_{memory_, 16};
    virtio::QueueSetup setup_ = driver_.setup();
};

TEST_F(RingsInMemory, AreAcceptedWhereverTheyFit) {
    EXPECT_TRUE(accepted());
    // To the last byte: 16 entries of 16 bytes; 3 indices and 16 entries of 2 and of 8 bytes.
    setup_.descriptors = Iova{memory_.end().value - 256};
    EXPECT_TRUE(accepted());
    setup_.driver_area = Iova{memory_.end().value - 38};
    EXPECT_TRUE(accepted());
    setup_.device_area = Iova{memory_.end().value - 136};
    EXPECT_TRUE(accepted());
}

TEST_F(RingsInMemory, AreRefusedWhereTheyStickOut) {
    const auto good = setup_;
    setup_.descriptors = Iova{memory_.end().value - 240};
    EXPECT_FALSE(accepted());
    setup_ = good;
    setup_.driver_area = Iova{memory_.end().value - 36};
    EXPECT_FALSE(accepted());
    setup_ = good;
    setup_.device_area = Iova{memory_.end().value - 132};
    EXPECT_FALSE(accepted());
    setup_ = good;
    setup_.descriptors = Iova{0x10'0000 - 16};
    EXPECT_FALSE(accepted());
}

TEST_F(RingsInMemory, AreRefusedWithoutAlignment) {
    const auto good = setup_;
    setup_.descriptors = good.descriptors + 8;
    EXPECT_FALSE(accepted());
    setup_ = good;
    setup_.driver_area = good.driver_area + 1;
    EXPECT_FALSE(accepted());
    setup_ = good;
    setup_.device_area = good.device_area + 2;
    EXPECT_FALSE(accepted());
}

TEST_F(RingsInMemory, AreRefusedWithoutEntries) {
    setup_.size = 0;
    EXPECT_FALSE(accepted());
}

TEST_F(RingsInMemory, AreRefusedAcrossTwoRegions) {
    AddressSpace space;
    const auto bytes = memory_.region().bytes;
    space.map({Iova{0x10'0000}, bytes.first(0x1000)});
    space.map({Iova{0x10'1000}, bytes.subspan(0x1000, 0x7'0000)});
    virtio::QueueSetup setup{16, Iova{0x10'0f80}, Iova{0x10'3000}, Iova{0x10'4000}, true};
    EXPECT_FALSE(rings_in_memory(space, setup));
    setup.descriptors = Iova{0x10'0f00};
    EXPECT_TRUE(rings_in_memory(space, setup));
}

}  // namespace
}  // namespace viaduct::datapath
