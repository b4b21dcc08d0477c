// GuestDevice: the machine stops and goes on. Between the two the device touches nothing, as far as
// its type lets.
#include <chrono>

#include "tests/unit/guest_device_world.hpp"

namespace viaduct::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

using Clock = std::chrono::steady_clock;
using State = datapath::GuestDevice::State;

TEST(GuestDeviceStop, DrainsADiskThatCannotSuspend) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.serve();
    world.post();  // and no kick: stopping kicks
    world.guest().stop();
    EXPECT_EQ(world.driver().ring().used_idx().load(), 1);
    EXPECT_EQ(world.guest().state(), State::fast);
    world.guest().resume();
    EXPECT_TRUE(world.driver().take_used().has_value());
    EXPECT_TRUE(world.does_io());
}

TEST(GuestDeviceStop, IsBoundedByTheDrainTimeout) {
    GuestWorld world;
    world.options.drain_timeout = std::chrono::milliseconds(50);
    ASSERT_TRUE(world.run());
    world.post();
    world.guest().stop();
    world.guest().resume();
    EXPECT_THAT(world.broken(), IsEmpty());
    EXPECT_EQ(world.node.complete(0), 1U);
}

TEST(GuestDeviceStop, LeavesANetworkCardThatCannotSuspendAlone) {
    GuestWorld world("vdpa_sim_net");
    world.node.answers.backend_features &= 0xf;
    ASSERT_TRUE(world.run());
    world.post();
    world.node.clear_log();
    const auto before = Clock::now();
    world.guest().stop();
    EXPECT_LT(Clock::now() - before, world.options.drain_timeout / 2);
    world.guest().resume();
    EXPECT_THAT(world.node.log(), IsEmpty());
}

TEST(GuestDeviceStop, SuspendsWhenThatIsOffered) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.run());
    world.node.clear_log();
    world.guest().stop();
    EXPECT_TRUE(world.node.suspended());
    world.post();
    EXPECT_EQ(world.node.complete(0), 0U);
    world.guest().resume();
    EXPECT_FALSE(world.node.suspended());
    EXPECT_EQ(world.node.complete(0), 1U);
    EXPECT_THAT(world.node.log(), ElementsAre("SUSPEND", "GET_VRING_BASE 0", "RESUME"));
}

TEST(GuestDeviceStop, SuspendWithoutResumeIsNoUse) {
    GuestWorld world("vdpa_sim_block");
    world.node.answers.backend_features &= ~(1ULL << 5);
    ASSERT_TRUE(world.run());
    world.node.clear_log();
    world.guest().stop();
    EXPECT_THAT(world.node.log(), IsEmpty());
}

TEST(GuestDeviceStop, ResumeKicksEveryQueueThatRuns) {
    GuestWorld world("vdpa_sim_net");
    ASSERT_TRUE(world.run({2}));
    world.guest().stop();
    for (unsigned queue = 0; queue < 3; ++queue) (void)world.guest().guest_kick(queue).take();
    world.guest().resume();
    EXPECT_TRUE(world.guest().guest_kick(0).pending());
    EXPECT_TRUE(world.guest().guest_kick(1).pending());
    EXPECT_FALSE(world.guest().guest_kick(2).pending());
}

TEST(GuestDeviceStop, StoppingTwiceAndResumingTwiceIsAsOnce) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.run());
    world.node.clear_log();
    world.guest().stop();
    world.guest().stop();
    world.guest().resume();
    world.guest().resume();
    EXPECT_THAT(world.node.log(), ElementsAre("SUSPEND", "GET_VRING_BASE 0", "RESUME"));
}

TEST(GuestDeviceStop, ADeviceThatDoesNotRunIsLeftAlone) {
    GuestWorld world("vdpa_sim_block");
    world.guest();
    world.node.clear_log();
    world.guest().stop();
    world.guest().resume();
    EXPECT_THAT(world.node.log(), IsEmpty());
}

TEST(GuestDeviceStop, ADeviceThatItsGuestStartsOnlyThenComesToRestAtOnce) {
    GuestWorld world("vdpa_sim_block");
    world.guest().stop();
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(world.node.suspended());
    world.guest().resume();
    EXPECT_FALSE(world.node.suspended());
    world.node.serve();
    EXPECT_TRUE(world.does_io());
}

TEST(GuestDeviceStop, ADeviceThatIsStartedAfterTheMachineWentOnRuns) {
    GuestWorld world("vdpa_sim_block");
    world.guest().stop();
    world.guest().resume();
    ASSERT_TRUE(world.run());
    EXPECT_FALSE(world.node.suspended());
}

TEST(GuestDeviceStop, AStoppedDeviceCanBeReset) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.run());
    world.guest().stop();
    world.reset();
    world.node.clear_log();
    world.guest().resume();
    EXPECT_THAT(world.node.log(), Not(Contains("RESUME")));
    ASSERT_TRUE(world.run());
    world.node.serve();
    EXPECT_TRUE(world.does_io());
}

TEST(GuestDeviceStop, AResetWaitsAgainForWhatTheStopDidNotWaitFor) {
    GuestWorld world;
    world.options.drain_timeout = std::chrono::milliseconds(50);
    ASSERT_TRUE(world.run());
    world.post();
    world.guest().stop();
    std::jthread device([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        (void)world.node.complete(0);
    });
    world.guest().reset();
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
}

TEST(GuestDeviceStop, AStoppedDeviceCanBeClosed) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.run());
    world.post();
    world.guest().stop();
    world.close();
    EXPECT_FALSE(world.node.is_open());
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
}

TEST(GuestDeviceStop, ADeviceThatFailsToSuspendIsBroken) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.run());
    world.node.fail_next("SUSPEND", EIO);
    world.guest().stop();
    EXPECT_EQ(world.guest().state(), State::broken);
    world.guest().resume();
    world.reset();
    EXPECT_TRUE(world.run());
}

}  // namespace
}  // namespace viaduct::test
