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
using datapath::ThrottleGroup;
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
    EXPECT_FALSE(world.guest().limits().any());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
}

TEST(ThrottledDevice, RefusesLimitsThatContradictEachOtherAndKeepsTheOldOnes) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    const ThrottleLimits good{.iops = {.average = 100}};
    ASSERT_TRUE(succeeded(world.throttle(good)));
    EXPECT_THAT(reason(world.throttle({.iops = {.average = 100}, .iops_rd = {.average = 50}})),
                HasSubstr("exclude each other"));
    EXPECT_EQ(world.guest().limits(), good);
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

SwitchOutcome join(SwitchWorld& world, const std::shared_ptr<ThrottleGroup>& group,
                   const ThrottleLimits& limits) {
    return world.wait(
        [&](auto done) { world.guest().set_throttle(group, limits, std::move(done)); });
}

SwitchOutcome follow(SwitchWorld& world) {
    return world.wait([&](auto done) { world.guest().follow_throttle(std::move(done)); });
}

constexpr ThrottleLimits some_limits{.iops = {.average = 5000}};

TEST(ThrottledDevice, LeavesItsGroupWhenItsLimitsGoAndTheOthersKeepTheirs) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld leaves({});
    SwitchWorld stays({});
    ASSERT_TRUE(leaves.run() && stays.run());
    ASSERT_TRUE(succeeded(join(leaves, group, some_limits)));
    ASSERT_TRUE(succeeded(join(stays, group, some_limits)));
    EXPECT_TRUE(succeeded(join(leaves, group, {})));
    EXPECT_EQ(leaves.guest().state(), GuestDevice::State::fast);
    EXPECT_EQ(leaves.guest().throttle_group(), nullptr);
    EXPECT_FALSE(leaves.guest().limits().any());
    EXPECT_EQ(stays.guest().throttle_group(), group);
    EXPECT_EQ(stays.guest().limits(), some_limits);
    EXPECT_TRUE(succeeded(follow(stays)));
    EXPECT_EQ(stays.guest().state(), GuestDevice::State::slow);
    // And is in one of its own from then on.
    ASSERT_TRUE(succeeded(leaves.throttle({.iops = {.average = 100}})));
    EXPECT_EQ(leaves.guest().throttle_group()->name(), "disk0");
    EXPECT_EQ(stays.guest().limits(), some_limits);
}

TEST(ThrottledDevice, StaysInItsGroupWhenItCannotLeave) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(join(world, group, some_limits)));
    unsigned calls = 0;
    world.before = [&](const std::string& called) {
        if (called == "enable_queue" && ++calls == 1) throw Error("fails on purpose");
    };
    EXPECT_THAT(reason(world.throttle({})), HasSubstr("on purpose"));
    EXPECT_EQ(world.guest().throttle_group(), group);
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
}

TEST(ThrottledDevice, FollowsItsGroup) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld world({.group = group});
    ASSERT_TRUE(world.run());
    world.start_load();
    group->set_limits(some_limits, ThrottleGroup::TimePoint::clock::now());
    EXPECT_TRUE(succeeded(follow(world)));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
    group->set_limits({}, ThrottleGroup::TimePoint::clock::now());
    EXPECT_TRUE(succeeded(follow(world)));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    world.finish_load();
}

TEST(ThrottledDevice, ThatItsOperatorKeepsOnTheFastPathCannotFollowItsGroup) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld world({.policy = Policy::fast, .group = group});
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(succeeded(follow(world)));
    group->set_limits(some_limits, ThrottleGroup::TimePoint::clock::now());
    EXPECT_THAT(reason(follow(world)), HasSubstr("'fast' by the operator's word"));
}

TEST(ThrottledDevice, ThatNeedsAResetFollowsItsGroupWhenItHasHadIt) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld world({.group = group});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle(some_limits)));
    // A chain that is none.
    world.driver().put_available(0xffff);
    world.driver().publish();
    world.guest().guest_kick(0).signal();
    ASSERT_TRUE(eventually([&] { return world.guest().needs_reset(); }));
    group->set_limits({}, ThrottleGroup::TimePoint::clock::now());
    EXPECT_TRUE(succeeded(follow(world)));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
    world.reset();
    ASSERT_TRUE(world.run());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
}

TEST(ThrottledDevice, OfWhichOneQueueWorksOnDoesNotEscapeItsGroupsLimits) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld world({.queues = 2, .group = group});
    ASSERT_TRUE(world.run());
    world.driver(1).put_available(9999);
    world.driver(1).publish();
    world.guest().guest_kick(1).signal();
    ASSERT_TRUE(eventually([&] { return world.guest().needs_reset(); }));
    EXPECT_TRUE(succeeded(follow(world))) << "there are no limits";
    group->set_limits(some_limits, ThrottleGroup::TimePoint::clock::now());
    EXPECT_THAT(reason(follow(world)), HasSubstr("needs a reset"));
    world.reset();
    ASSERT_TRUE(world.run());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
}

TEST(ThrottledDevice, GoesBackIntoAGroupThatHasNoLimits) {
    const auto group = std::make_shared<ThrottleGroup>("both");
    SwitchWorld world({.group = group});
    ASSERT_TRUE(world.run());
    const auto other = std::make_shared<ThrottleGroup>("other");
    ASSERT_TRUE(succeeded(join(world, other, some_limits)));
    EXPECT_TRUE(succeeded(
        world.wait([&](auto done) { world.guest().join_group(group, std::move(done)); })));
    EXPECT_EQ(world.guest().throttle_group(), group);
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    EXPECT_EQ(other->limits(), some_limits);
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

TEST(ThrottledDevice, LetsAFlushThroughWhileOthersWait) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle(one_in_ten_seconds)));
    world.post_reads(20);
    wait_until_some_wait(world, 10);
    while (world.driver().take_used()) {
    }
    const std::uint16_t flush = world.post_flush();
    std::optional<virtio::UsedElement> used;
    EXPECT_TRUE(eventually([&] {
        const auto element = world.driver().take_used();
        if (element && element->id == flush) used = element;
        return used.has_value();
    })) << "it waits behind the reads";
}

TEST(ThrottledDevice, ForgetsWhatWaitsWhenItsGuestResetsIt) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.throttle(one_in_ten_seconds)));
    const auto reads = world.post_reads(20);
    wait_until_some_wait(world, 10);
    unsigned used = 0;
    const auto start = std::chrono::steady_clock::now();
    world.guest().reset();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    while (world.driver().take_used()) ++used;
    EXPECT_LT(used, 10U) << "requests that nobody had let through were carried out";
    const auto untouched = std::count_if(reads.begin(), reads.end(), [&](const auto& read) {
        return world.memory.load<std::uint32_t>(read.content) == SwitchWorld::not_read &&
               world.memory.load<std::byte>(read.status) == SwitchWorld::not_answered;
    });
    EXPECT_EQ(untouched, 20 - used);
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
