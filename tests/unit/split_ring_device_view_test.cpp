#include "devices/virtio/split_ring_device_view.hpp"

#include <array>

#include <gtest/gtest.h>

#include "tests/unit/ring_driver.hpp"

namespace viaduct::virtio {
namespace {

constexpr std::uint16_t entries = 8;

/// Both ways of asking for notifications.
class DeviceView : public testing::TestWithParam<bool> {
protected:
    void start_at(RingIndex index) {
        driver_.start_at(index);
        view_ = SplitRingDeviceView(driver_.ring(), GetParam(), index);
        view_.take_over();
    }
    void post(unsigned count = 1) {
        for (unsigned i = 0; i < count; ++i)
            driver_.add(std::array{test::Buffer{buffer_, 1, true}});
    }
    /// Takes all, gives all back.
    unsigned serve() {
        const std::uint16_t count = view_.available().value();
        for (unsigned i = 0; i < count; ++i) {
            view_.put_used(view_.head(), 1);
            view_.take();
        }
        return count;
    }

    test::GuestMemory memory_{1 << 20};
    test::RingDriver driver_{memory_, entries, GetParam()};
    Iova buffer_ = memory_.allocate(16);
    SplitRingDeviceView view_{driver_.ring(), GetParam(), RingIndex(0)};
};

INSTANTIATE_TEST_SUITE_P(WithAndWithoutEventIdx, DeviceView, testing::Bool());

TEST_P(DeviceView, HandsBackWhatItTook) {
    start_at(RingIndex(0));
    post(3);
    EXPECT_EQ(view_.available(), 0);
    driver_.publish();
    EXPECT_EQ(serve(), 3U);
    EXPECT_FALSE(driver_.take_used());
    (void)view_.publish_used();
    for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(driver_.take_used().value().length, 1U);
    EXPECT_FALSE(driver_.take_used());
}

TEST_P(DeviceView, GoesOnPastIndex65535) {
    start_at(RingIndex(65530));
    for (unsigned round = 0; round < 10; ++round) {
        post(entries);
        driver_.publish();
        ASSERT_EQ(serve(), entries);
        (void)view_.publish_used();
        for (unsigned i = 0; i < entries; ++i) ASSERT_TRUE(driver_.take_used());
    }
    EXPECT_EQ(view_.next_avail(), RingIndex(65530) + 80);
    EXPECT_EQ(driver_.ring().used_idx().load(), 74);
}

TEST_P(DeviceView, FindsAnIndexThatJumpedFurtherThanTheRing) {
    start_at(RingIndex(65535));
    driver_.ring().avail_idx().store(static_cast<std::uint16_t>(65535 + entries));
    EXPECT_EQ(view_.available(), entries);
    driver_.ring().avail_idx().store(static_cast<std::uint16_t>(65535 + entries + 1));
    EXPECT_FALSE(view_.available());
    driver_.ring().avail_idx().store(65534);
    EXPECT_FALSE(view_.available());
}

TEST_P(DeviceView, IsKickedWhileItAsksForKicksAndNotWhileItIsBusy) {
    start_at(RingIndex(65534));
    post();
    EXPECT_TRUE(driver_.publish());
    serve();
    view_.suppress_kicks();
    post();
    EXPECT_FALSE(driver_.publish());
    serve();
    EXPECT_FALSE(view_.request_kicks());
    post();
    EXPECT_TRUE(driver_.publish());
}

TEST_P(DeviceView, SeesWhatCameBeforeItAskedForKicks) {
    start_at(RingIndex(0));
    post();
    driver_.publish();
    serve();
    view_.suppress_kicks();
    post();
    EXPECT_FALSE(driver_.publish());
    EXPECT_TRUE(view_.request_kicks()) << "nobody would ever kick for this one";
}

TEST_P(DeviceView, CallsOnlyADriverThatWantsIt) {
    start_at(RingIndex(0));
    EXPECT_FALSE(driver_.request_interrupts());
    post();
    driver_.publish();
    serve();
    EXPECT_TRUE(view_.publish_used());
    driver_.suppress_interrupts();
    post();
    driver_.publish();
    serve();
    EXPECT_FALSE(view_.publish_used());
}

TEST_P(DeviceView, CallsOnceForABatchThatPassesTheEvent) {
    start_at(RingIndex(65533));
    EXPECT_FALSE(driver_.request_interrupts());
    post(6);
    driver_.publish();
    EXPECT_EQ(serve(), 6U);
    EXPECT_TRUE(view_.publish_used());
    EXPECT_FALSE(view_.has_unpublished());
}

TEST_P(DeviceView, GetsTheGuestsKicksAfterTheOtherSideLeftItsSuppressionBehind) {
    driver_.start_at(RingIndex(100));
    driver_.ring().used_flags().store(ring_flag::no_notify);
    driver_.ring().avail_event().store(30000);
    view_ = SplitRingDeviceView(driver_.ring(), GetParam(), RingIndex(100));
    view_.take_over();
    EXPECT_EQ(driver_.ring().used_flags().load(), 0);
    post();
    EXPECT_TRUE(driver_.publish());
}

}  // namespace
}  // namespace viaduct::virtio
