// A disk whose process is gone while requests are in flight, and another that takes it up.
#include <memory>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"
#include "tests/unit/soft_held_image.hpp"

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::eventually;

constexpr std::uint16_t held_ring_size = 16;

class SoftTakeover : public testing::TestWithParam<bool> {
protected:
    SoftTakeover() { disk_.start(); }

    std::unique_ptr<SoftDevice> make_device() {
        SoftDeviceOptions options;
        options.queue_size = held_ring_size;
        options.suspend = false;
        options.in_flight = log_;
        return std::make_unique<SoftDevice>(std::make_unique<test::HeldImage>(gate_), options);
    }
    /// Dies, as far as a process can see to it, and comes back.
    void die_and_come_back() {
        disk_.device().halt();
        disk_.replace_device(make_device());
        disk_.negotiate(test::usual_features(disk_.device(), GetParam()));
        disk_.set_up_queues();  // at base 0, which is not where the ring stands
        disk_.device().take_over();
        disk_.go();
    }
    test::PostedRequest post(Iova buffer) {
        const unsigned before = gate_.begun;
        const auto request = disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer, 512);
        driver().publish_and_kick();
        EXPECT_TRUE(eventually([&] { return gate_.begun == before + 1; }));
        return request;
    }
    void release_and_expect(const test::PostedRequest& request, Iova buffer, std::byte value) {
        gate_.release(Bytes(512, value));
        const auto used = driver().wait_used();
        ASSERT_TRUE(used);
        EXPECT_EQ(used->id, request.head);
        EXPECT_EQ(disk_.memory().load<std::uint8_t>(request.status), VIRTIO_BLK_S_OK);
        EXPECT_EQ(disk_.get(buffer, 512), Bytes(512, value));
    }
    test::RingDriver& driver() { return disk_.driver(); }

    std::vector<InFlightEntry> log_{held_ring_size};
    test::HeldImage::Gate gate_;
    test::SoftDisk disk_{make_device(), held_ring_size, GetParam()};
    Iova first_ = disk_.put(Bytes(512));
    Iova second_ = disk_.put(Bytes(512));
};

TEST_P(SoftTakeover, DoesAgainWhatWasInFlightAndNothingThatWasHandedBack) {
    release_and_expect(post(first_), first_, std::byte{1});
    const auto left = post(second_);
    die_and_come_back();
    EXPECT_TRUE(eventually([&] { return gate_.begun == 3; }));
    release_and_expect(left, second_, std::byte{2});
    EXPECT_EQ(driver().ring().used_idx().load(), 2);
    // And on.
    release_and_expect(post(first_), first_, std::byte{3});
    EXPECT_EQ(gate_.begun, 4U);
    EXPECT_EQ(driver().ring().used_idx().load(), 3);
}

TEST_P(SoftTakeover, FindsWhatWasMadeAvailableMeanwhile) {
    const auto left = post(first_);
    disk_.device().halt();
    const auto meanwhile = disk_.post(0, VIRTIO_BLK_T_IN, 0, second_, 512);
    driver().publish();  // the kick is lost with the process
    die_and_come_back();
    EXPECT_TRUE(eventually([&] { return gate_.begun == 3; }));
    gate_.release(Bytes(1024));
    std::set<std::uint32_t> heads;
    for (int count = 0; count < 2; ++count) {
        const auto used = driver().wait_used();
        ASSERT_TRUE(used);
        heads.insert(used->id);
    }
    EXPECT_EQ(heads, (std::set<std::uint32_t>{left.head, meanwhile.head}));
}

TEST_P(SoftTakeover, DoesAgainWhatWasOvertakenAndNotWhatOvertookIt) {
    const auto left = post(first_);
    const Iova serial = disk_.put(Bytes(20));
    EXPECT_EQ(disk_.run(0, VIRTIO_BLK_T_GET_ID, 0, serial, 20), VIRTIO_BLK_S_OK);
    die_and_come_back();
    EXPECT_TRUE(eventually([&] { return gate_.begun == 2; }));
    release_and_expect(left, first_, std::byte{1});
    EXPECT_EQ(driver().ring().used_idx().load(), 2);
}

TEST_P(SoftTakeover, AnIdleRingGoesOnWhereItStands) {
    release_and_expect(post(first_), first_, std::byte{1});
    die_and_come_back();
    release_and_expect(post(first_), first_, std::byte{2});
    EXPECT_EQ(driver().ring().used_idx().load(), 2);
    EXPECT_EQ(gate_.begun, 2U);
}

TEST_P(SoftTakeover, InterruptsForWhatTheKilledOneHadNoTimeTo) {
    post(first_);
    gate_.release(Bytes(512));
    EXPECT_TRUE(eventually([&] { return driver().ring().used_idx().load() == 1; }));
    EXPECT_TRUE(eventually([&] { return driver().call_event().pending(); }));
    (void)driver().call_event().take();  // as if it had died before
    die_and_come_back();
    EXPECT_TRUE(eventually([&] { return driver().call_event().pending(); }));
}

TEST_P(SoftTakeover, AResetForgetsWhatWasInFlight) {
    post(first_);
    disk_.device().reset();
    EXPECT_TRUE(InFlightLog(log_).unfinished({}, held_ring_size).empty());
}

TEST_P(SoftTakeover, TwiceIsNoDifferentFromOnce) {
    const auto left = post(first_);
    die_and_come_back();
    EXPECT_TRUE(eventually([&] { return gate_.begun == 2; }));
    die_and_come_back();
    EXPECT_TRUE(eventually([&] { return gate_.begun == 3; }));
    release_and_expect(left, first_, std::byte{1});
    EXPECT_EQ(driver().ring().used_idx().load(), 1);
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutEventIdx, SoftTakeover, testing::Bool());

}  // namespace
}  // namespace viaduct::soft
