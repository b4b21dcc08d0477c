// I/O limits and the data path: where a limit is, the slow path is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/switch_world.hpp"

namespace viaduct::test {
namespace {

using datapath::GuestDevice;
using datapath::Policy;
using datapath::SwitchOutcome;
using datapath::SwitchReport;
using datapath::ThrottleLimits;
using testing::HasSubstr;

TEST(ThrottledDevice, TakesToTheSlowPathAndBackWhenTheLastLimitIsGone) {
    SwitchWorld world({.queues = 2});
    ASSERT_TRUE(world.run());
    world.start_load();
    EXPECT_TRUE(succeeded(world.throttle({.iops = {.average = 5000}})));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
    EXPECT_TRUE(succeeded(world.throttle({.bps_rd = {.average = 1 << 20}})));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
    EXPECT_TRUE(succeeded(world.throttle({})));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    world.finish_load();
}

TEST(ThrottledDevice, KeepsItsLimitsAsTheyWereWhenTheSlowPathCannotBeHad) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    unsigned calls = 0;
    world.before = [&](const std::string& called) {
        if (called == "enable_queue" && ++calls == 1) throw Error("fails on purpose");
    };
    EXPECT_THAT(reason(world.throttle({.iops = {.average = 100}})), HasSubstr("on purpose"));
    EXPECT_FALSE(world.guest().throttle_group()->limits().any());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
}

TEST(ThrottledDevice, RefusesLimitsThatContradictEachOtherAndKeepsTheOldOnes) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    const ThrottleLimits good{.iops = {.average = 100}};
    ASSERT_TRUE(succeeded(world.throttle(good)));
    EXPECT_THAT(reason(world.throttle({.iops = {.average = 100}, .iops_rd = {.average = 50}})),
                HasSubstr("exclude each other"));
    EXPECT_EQ(world.guest().throttle_group()->limits(), good);
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
}

TEST(ThrottledDevice, CannotBeSentToTheFastPath) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle({.iops = {.average = 100}})));
    EXPECT_THAT(reason(world.set(Policy::fast)), HasSubstr("clear them first"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
}

TEST(ThrottledDevice, ThatItsOperatorKeepsOnTheFastPathTakesNoLimits) {
    SwitchWorld world({.policy = Policy::fast});
    ASSERT_TRUE(world.run());
    EXPECT_THAT(reason(world.throttle({.iops = {.average = 100}})), HasSubstr("mode auto first"));
    SwitchWorld fixed({.policy = Policy::fast_only});
    ASSERT_TRUE(fixed.run());
    EXPECT_THAT(reason(fixed.wait([&](auto done) {
                    fixed.guest().set_throttle(std::make_shared<datapath::ThrottleGroup>("g"),
                                               {.iops = {.average = 1}}, std::move(done));
                })),
                HasSubstr("fast-only"));
}

/// One request goes, the others wait for seconds.
constexpr ThrottleLimits one_in_ten_seconds{.iops = {.average = 1, .maximum = 1}};

void wait_until_some_wait(SwitchWorld& world, unsigned count) {
    const auto& waiting = world.guest().records()[0].statistics.throttled_requests;
    EXPECT_TRUE(eventually([&] { return waiting.value() >= count; }))
        << "nothing waits in the throttle";
}

TEST(ThrottledDevice, ForwardsWhatWaitsWhenTheLimitsGo) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle(one_in_ten_seconds)));
    world.post_reads(20);
    wait_until_some_wait(world, 10);
    EXPECT_TRUE(succeeded(world.throttle({})));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    for (unsigned i = 0; i < 20; ++i) EXPECT_TRUE(world.driver().take_used()) << i;
}

TEST(ThrottledDevice, ForgetsWhatWaitsWhenItsGuestResetsIt) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle(one_in_ten_seconds)));
    world.post_reads(20);
    wait_until_some_wait(world, 10);
    unsigned used = 0;
    const auto start = std::chrono::steady_clock::now();
    world.guest().reset();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    while (world.driver().take_used()) ++used;
    EXPECT_LT(used, 10U) << "requests that nobody had let through were carried out";
    ASSERT_TRUE(succeeded(world.throttle({})));
    world.driver().forget_outstanding();
    world.driver().start_at({});
    ASSERT_TRUE(world.run());
    world.start_load();
    world.finish_load();
}

TEST(ThrottledDevice, ComesToRestWithRequestsThatWaitAndGoesOnWithThem) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle(one_in_ten_seconds)));
    world.post_reads(20);
    wait_until_some_wait(world, 10);
    const auto start = std::chrono::steady_clock::now();
    world.guest().stop();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    world.guest().resume();
    EXPECT_TRUE(succeeded(world.throttle({})));
    for (unsigned i = 0; i < 20; ++i) EXPECT_TRUE(world.driver().take_used()) << i;
}

}  // namespace
}  // namespace viaduct::test
