// The switch, the stop and the reset of a disk that does not come to rest: one request is held.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/soft_held_image.hpp"
#include "tests/unit/switch_world.hpp"

namespace viaduct::test {
namespace {

using datapath::GuestDevice;
using datapath::Policy;
using datapath::SwitchOutcome;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A device that sits on one request, with SUSPEND or without.
class SwitchWithARequestHeld : public testing::TestWithParam<std::tuple<bool, bool>> {
protected:
    SwitchWithARequestHeld()
        : world_({.suspend = std::get<1>(GetParam()),
                  .drain_timeout = std::chrono::milliseconds(50),
                  .make_device = [this] {
                      return std::make_unique<soft::SoftDevice>(std::make_unique<HeldImage>(gate_),
                                                                soft::SoftDeviceOptions{});
                  }}) {
        EXPECT_TRUE(world_.run());
        if (!to_slow()) {
            EXPECT_TRUE(succeeded(world_.set(Policy::slow)));
        }
        world_.post_reads(1);
        EXPECT_TRUE(eventually([this] { return gate_.begun != 0; }));
    }
    void TearDown() override {
        if (!released_) release();
    }
    static bool to_slow() { return std::get<0>(GetParam()); }
    SwitchOutcome try_to_switch(bool break_on_timeout) {
        return world_.set(
            to_slow() ? Policy::slow : Policy::fast,
            {.timeout = std::chrono::milliseconds(50), .break_on_timeout = break_on_timeout});
    }
    void release() {
        released_ = true;
        gate_.release(Bytes(sector, std::byte{7}));
    }
    bool request_comes_back() {
        return eventually([this] { return world_.driver().take_used().has_value(); });
    }

    HeldImage::Gate gate_;
    SwitchWorld world_;
    bool released_ = false;
};

INSTANTIATE_TEST_SUITE_P(Directions, SwitchWithARequestHeld,
                         testing::Combine(testing::Bool(), testing::Bool()));

TEST_P(SwitchWithARequestHeld, GivesUpAfterItsTimeAndChangesNothing) {
    EXPECT_THAT(reason(try_to_switch(false)), HasSubstr("still in flight after 50 ms"));
    EXPECT_EQ(world_.guest().state(),
              to_slow() ? GuestDevice::State::fast : GuestDevice::State::slow);
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_TRUE(succeeded(try_to_switch(false)));
}

TEST_P(SwitchWithARequestHeld, OfAStoppedMachineGivesUpToo) {
    world_.guest().stop();
    EXPECT_THAT(reason(try_to_switch(false)), HasSubstr("still in flight after 50 ms"));
    world_.guest().resume();
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_TRUE(succeeded(try_to_switch(false)));
}

TEST_P(SwitchWithARequestHeld, StopsAfterItsTimeAndGoesOnWithIt) {
    for (unsigned round = 0; round < 2; ++round) {
        world_.in_time([&] { world_.guest().stop(); });
        world_.guest().resume();
    }
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_THAT(world_.broken(), IsEmpty());
}

TEST_P(SwitchWithARequestHeld, IsResetAfterItsTime) {
    world_.in_time([&] { world_.guest().reset(); });
    EXPECT_EQ(world_.guest().state(), GuestDevice::State::idle);
    EXPECT_THAT(world_.broken(), IsEmpty());
}

TEST_P(SwitchWithARequestHeld, OfAGuestThatSaysItCameBackLosesItsOwnRequestAlone) {
    // used.idx as if the request had been used.
    world_.driver().ring().used_idx().store(world_.driver().ring().avail_idx().load());
    const auto outcome = try_to_switch(false);
    // The relay knows better.
    EXPECT_EQ(succeeded(outcome), to_slow()) << reason(outcome);
    release();
    world_.reset();
    ASSERT_TRUE(world_.run());
    EXPECT_THAT(world_.broken(), IsEmpty());
    world_.post_reads(1);
    release();
    EXPECT_TRUE(request_comes_back());
}

TEST_P(SwitchWithARequestHeld, BreaksTheDeviceWhereThatWasAskedFor) {
    EXPECT_THAT(reason(try_to_switch(true)), HasSubstr("still in flight after 50 ms"));
    EXPECT_EQ(world_.guest().state(), GuestDevice::State::broken);
    EXPECT_THAT(world_.broken(), SizeIs(1));
    EXPECT_EQ(world_.guest().policy(), to_slow() ? Policy::slow : Policy::fast);
    world_.reset();
    ASSERT_TRUE(world_.run());
    EXPECT_EQ(world_.guest().state(),
              to_slow() ? GuestDevice::State::slow : GuestDevice::State::fast)
        << "its guest has escaped by a reset";
}

TEST_P(SwitchWithARequestHeld, OfADeviceThatDoesNotSuspendEitherGivesUpToo) {
    world_.before = [](const std::string& called) {
        if (called == "suspend") throw Error("suspend fails on purpose");
    };
    EXPECT_THAT(reason(try_to_switch(false)), HasSubstr("still in flight after 50 ms"));
    EXPECT_THAT(world_.broken(), IsEmpty());
    world_.before = [](const std::string&) {};
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_TRUE(succeeded(try_to_switch(false)));
}

TEST_P(SwitchWithARequestHeld, OfADeviceThatDoesNotResumeBreaksIt) {
    world_.before = [](const std::string& called) {
        if (called == "resume") throw Error("resume fails on purpose");
    };
    const bool suspended = to_slow() && std::get<1>(GetParam());
    EXPECT_THAT(reason(try_to_switch(false)),
                HasSubstr(suspended ? "on purpose" : "still in flight after 50 ms"));
    EXPECT_EQ(world_.guest().state() == GuestDevice::State::broken, suspended);
    world_.before = [](const std::string&) {};
}

TEST_P(SwitchWithARequestHeld, MayComeBackWhileTheBrokenDeviceIsClosed) {
    world_.before = [this](const std::string& called) {
        if (called != "close" || released_) return;
        release();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
    EXPECT_THAT(reason(try_to_switch(true)), HasSubstr("still in flight after 50 ms"));
    EXPECT_TRUE(released_);
    world_.before = [](const std::string&) {};
}

TEST_P(SwitchWithARequestHeld, TakesLimitsWhileItIsBroken) {
    EXPECT_THAT(reason(try_to_switch(true)), HasSubstr("still in flight after 50 ms"));
    ASSERT_TRUE(succeeded(world_.set(Policy::automatic)));
    const auto outcome = world_.throttle({.iops = {.average = 1, .maximum = 1}});
    ASSERT_TRUE(succeeded(outcome)) << reason(outcome);
    world_.reset();
    ASSERT_TRUE(world_.run());
    EXPECT_EQ(world_.guest().state(), GuestDevice::State::slow);
    world_.post_reads(10);
    const auto& waiting = world_.guest().records()[0].statistics.throttled_requests;
    EXPECT_TRUE(eventually([&] { return waiting.value() != 0; })) << "no limit is in force";
}

}  // namespace
}  // namespace viaduct::test
