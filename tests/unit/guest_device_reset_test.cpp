// GuestDevice: the guest's reset, and the end. A device is reset with nothing in flight.
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

constexpr auto soon = std::chrono::seconds(10);

/// Waits for a line of the log.
bool happens(const FakeVhostNode& node, const std::string& line) {
    const auto deadline = Clock::now() + soon;
    while (node.log_of(line).empty()) {
        if (Clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

TEST(GuestDeviceReset, CallsAndConfigCallAreSetAgainAfterEveryReset) {
    GuestWorld world("vduse_block_two_queues");
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(world.run());
        for (unsigned queue = 0; queue < 2; ++queue) {
            EXPECT_TRUE(world.node.interrupt(queue)) << "round " << round;
            EXPECT_TRUE(world.guest().guest_call(queue).take());
            EXPECT_FALSE(world.guest().guest_call(1 - queue).pending());
        }
        EXPECT_TRUE(world.node.change_config(0, {})) << "round " << round;
        EXPECT_TRUE(GuestWorld::arrives(world.guest().config_call()));
        world.reset();
    }
}

TEST(GuestDeviceReset, DrainsWithTheVcpusPausedBeforeItWritesStatus0) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.post();
    world.node.clear_log();
    auto reset = std::async(std::launch::async, [&] { world.guest().reset(); });
    ASSERT_TRUE(happens(world.node, "vCPUs paused"));
    EXPECT_EQ(reset.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
    EXPECT_THAT(world.node.log(), ElementsAre("GET_VRING_BASE 0", "vCPUs paused"));
    EXPECT_EQ(world.node.complete(0), 1U);
    reset.get();
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
    EXPECT_THAT(world.node.log(),
                ElementsAre("GET_VRING_BASE 0", "vCPUs paused", "SET_STATUS 0x0", "vCPUs resumed",
                            "SET_STATUS 0x1", "SET_STATUS 0x3", "SET_FEATURES 0x330006644"));
    EXPECT_EQ(world.guest().state(), State::idle);
}

TEST(GuestDeviceReset, AVcpuStoppedBetweenItsAvailIdxStoreAndItsNotifyDoesNotMakeADrainTimeOut) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.serve();
    world.post();  // and no kick
    const auto before = Clock::now();
    world.guest().reset();
    EXPECT_LT(Clock::now() - before, world.options.drain_timeout);
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
}

TEST(GuestDeviceReset, GuestResetsTheDeviceInTheMiddleOfIoTwentyTimes) {
    GuestWorld world("vduse_block_two_queues");
    world.node.serve();
    for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(world.run()) << "round " << round;
        for (unsigned queue = 0; queue < 2; ++queue) {
            world.post(queue);
            world.guest().guest_kick(queue).signal();
            world.post(queue);
            world.guest().guest_kick(queue).signal();
        }
        world.reset();
    }
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(world.does_io(0));
    EXPECT_TRUE(world.does_io(1));
    EXPECT_THAT(world.broken(), IsEmpty());
}

TEST(GuestDeviceReset, ADeviceThatNeverAnswersIsResetAfterTheDrainTimeout) {
    GuestWorld world;
    world.options.drain_timeout = std::chrono::milliseconds(50);
    ASSERT_TRUE(world.run());
    world.post();
    const auto before = Clock::now();
    world.reset();
    EXPECT_GE(Clock::now() - before, world.options.drain_timeout);
    EXPECT_EQ(world.node.resets_in_flight(), 1U);
    world.node.serve();
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(world.does_io());
}

TEST(GuestDeviceReset, ADeviceThatDoesNotRunIsResetWithoutPausingAnybody) {
    GuestWorld world;
    world.guest();
    world.node.clear_log();
    world.guest().reset();
    EXPECT_THAT(world.node.log(), Not(Contains("vCPUs paused")));
    EXPECT_THAT(world.node.log(), Contains("SET_STATUS 0x0"));
}

TEST(GuestDeviceReset, ANetworkCardsReceiveBuffersAreNotWaitedFor) {
    GuestWorld world("vdpa_sim_net");
    world.node.answers.backend_features &= 0xf;  // without SUSPEND
    ASSERT_TRUE(world.run());
    world.post();
    const auto before = Clock::now();
    world.guest().reset();
    EXPECT_LT(Clock::now() - before, world.options.drain_timeout / 2);
    EXPECT_EQ(world.guest().state(), State::idle);
}

TEST(GuestDeviceReset, ADeviceOfAnUnknownTypeIsNotWaitedFor) {
    GuestWorld world;
    world.node.answers.device_id = 4242;
    ASSERT_TRUE(world.run());
    world.post();
    const auto before = Clock::now();
    world.guest().reset();
    EXPECT_LT(Clock::now() - before, world.options.drain_timeout / 2);
}

TEST(GuestDeviceReset, ADeviceThatSuspendsIsSuspendedInsteadOfDrained) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.run());
    world.post();
    world.node.clear_log();
    world.guest().reset();
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
    const auto log = world.node.log();
    ASSERT_GE(log.size(), 5U);
    EXPECT_THAT(std::vector(log.begin(), log.begin() + 5),
                ElementsAre("GET_VRING_BASE 0", "vCPUs paused", "SUSPEND", "GET_VRING_BASE 0",
                            "SET_STATUS 0x0"));
}

TEST(GuestDeviceReset, KeepsTheMapWhereTheDeviceDoes) {
    GuestWorld world("vdpa_sim_block");
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(world.run());
        world.post();
        EXPECT_EQ(world.node.complete(0), 1U);
        world.reset();
    }
    EXPECT_THAT(world.node.log_of("IOTLB_UPDATE"),
                ElementsAre(GuestWorld::map_guest, GuestWorld::map_shadow));
    EXPECT_THAT(world.node.log_of("IOTLB_INVALIDATE"), IsEmpty());
}

TEST(GuestDeviceReset, MapsAgainWhereTheDeviceForgets) {
    GuestWorld world;
    for (int round = 0; round < 2; ++round) {
        ASSERT_TRUE(world.run());
        world.post();
        EXPECT_EQ(world.node.complete(0), 1U);
        world.reset();
    }
    EXPECT_THAT(world.node.log_of("IOTLB_"),
                ElementsAre("IOTLB_BATCH_BEGIN", GuestWorld::map_guest, GuestWorld::map_shadow,
                            "IOTLB_BATCH_END", "IOTLB_BATCH_BEGIN", GuestWorld::unmap_guest,
                            GuestWorld::unmap_shadow, "IOTLB_BATCH_END", "IOTLB_BATCH_BEGIN",
                            GuestWorld::map_guest, GuestWorld::map_shadow, "IOTLB_BATCH_END"));
}

TEST(GuestDeviceReset, ConfigStaysReadableWithTheGuestsFeatures) {
    GuestWorld world;
    std::array<std::byte, 1> byte{};
    world.guest().read_config(0, byte);
    EXPECT_EQ(world.node.accepted_features(), world.guest().offered_features());
    ASSERT_TRUE(world.run());
    world.reset();
    world.guest().read_config(0, byte);
    EXPECT_EQ(world.node.accepted_features(), world.guest().offered_features());
}

TEST(GuestDeviceEnd, DrainsResetsAndUnmapsBeforeItCloses) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.serve();
    world.post();
    world.node.clear_log();
    world.close();
    EXPECT_EQ(world.node.resets_in_flight(), 0U);
    EXPECT_THAT(world.node.log(),
                ElementsAre("SET_STATUS 0x0", "IOTLB_BATCH_BEGIN", GuestWorld::unmap_guest,
                            GuestWorld::unmap_shadow, "IOTLB_BATCH_END", "close"));
}

TEST(GuestDeviceEnd, OfADeviceThatNeverStartedIsTheSame) {
    GuestWorld world;
    world.guest();
    world.node.clear_log();
    world.close();
    EXPECT_THAT(world.node.log(),
                ElementsAre("SET_STATUS 0x0", "IOTLB_BATCH_BEGIN", GuestWorld::unmap_guest,
                            GuestWorld::unmap_shadow, "IOTLB_BATCH_END", "close"));
}

TEST(GuestDeviceEnd, SurvivesADeviceThatFails) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.fail_next("SET_STATUS", EIO);
    world.close();
    EXPECT_FALSE(world.node.is_open());
    EXPECT_THAT(world.broken(), IsEmpty());
}

}  // namespace
}  // namespace viaduct::test
