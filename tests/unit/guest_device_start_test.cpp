// GuestDevice: what reaches the kernel between the guest's ACKNOWLEDGE and its DRIVER_OK.
#include <algorithm>
#include <cerrno>

#include "tests/unit/guest_device_world.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using State = datapath::GuestDevice::State;

TEST(GuestDevice, TellsTheDeviceOfADriverAndOfItsMemoryRightAfterOpening) {
    GuestWorld world;
    world.guest();
    const auto log = world.node.log();
    const auto first = std::find(log.begin(), log.end(), "SET_STATUS 0x1");
    EXPECT_THAT(std::vector(first, log.end()),
                ElementsAre("SET_STATUS 0x1", "SET_STATUS 0x3", "SET_FEATURES 0x330006644",
                            "IOTLB_BATCH_BEGIN", GuestWorld::map_guest, GuestWorld::map_shadow,
                            "IOTLB_BATCH_END", "GET_CONFIG 0 60"));
    EXPECT_EQ(world.guest().state(), State::idle);
}

TEST(GuestDevice, StartsTheDeviceByTheseCallsInThisOrder) {
    GuestWorld world("vduse_block_two_queues");
    world.guest();
    world.node.clear_log();
    ASSERT_TRUE(world.run());
    const auto ring = [&](unsigned queue) {
        const virtio::QueueSetup& setup = world.driver(queue).setup();
        return fmt::format("SET_VRING_ADDR {} {:#x} {:#x} {:#x}", queue, setup.descriptors.value,
                           setup.driver_area.value, setup.device_area.value);
    };
    EXPECT_THAT(world.node.log(),
                ElementsAre("SET_FEATURES 0x330007644", "SET_STATUS 0xb", "GET_STATUS",
                            "SET_VRING_NUM 0 64", ring(0), "SET_VRING_BASE 0 0", "SET_VRING_KICK 0",
                            "SET_VRING_CALL 0", "SET_VRING_NUM 1 64", ring(1), "SET_VRING_BASE 1 0",
                            "SET_VRING_KICK 1", "SET_VRING_CALL 1", "SET_CONFIG_CALL",
                            "SET_VRING_ENABLE 0 1", "SET_VRING_ENABLE 1 1", "SET_STATUS 0xf",
                            "GET_STATUS"));
    EXPECT_EQ(world.guest().state(), State::fast);
}

TEST(GuestDevice, ALimitOnMemoryIsTheOperatorsToHearOfBeforeThereIsAGuest) {
    GuestWorld world;
    world.node.fail_next("IOTLB_UPDATE", ENOMEM);
    EXPECT_THAT([&] { world.guest(); }, testing::ThrowsMessage<Error>(HasSubstr("16982016 bytes")));
    EXPECT_FALSE(world.node.is_open());
}

TEST(GuestDevice, EveryRingThatTheGuestEnabledIsEnabledBeforeDriverOk) {
    GuestWorld world("vduse_block_two_queues");
    ASSERT_TRUE(world.run());
    for (unsigned queue = 0; queue < 2; ++queue) {
        world.post(queue);
        EXPECT_EQ(world.node.complete(queue), 1U) << "ring " << queue << " is dead";
    }
}

TEST(GuestDevice, ARingThatTheGuestDidNotEnableIsLeftAlone) {
    GuestWorld world("vduse_block_two_queues");
    world.guest();
    world.node.clear_log();
    ASSERT_TRUE(world.run({1}));
    EXPECT_THAT(world.node.log_of("SET_VRING_ENABLE"), ElementsAre("SET_VRING_ENABLE 0 1"));
    EXPECT_THAT(world.node.log_of("SET_VRING_NUM"), ElementsAre("SET_VRING_NUM 0 64"));
    world.post(0);
    EXPECT_EQ(world.node.complete(0), 1U);
    world.post(1);
    EXPECT_EQ(world.node.complete(1), 0U);
}

TEST(GuestDevice, TheGuestsOwnEventfdsKickTheDeviceAndCallTheGuest) {
    GuestWorld world("vduse_block_two_queues");
    ASSERT_TRUE(world.run());
    world.node.serve();
    EXPECT_TRUE(world.does_io(0));
    EXPECT_TRUE(world.does_io(1));
    EXPECT_FALSE(world.guest().guest_call(0).pending());
}

TEST(GuestDevice, ADeviceOfAnUnknownTypeIsCarriedAllTheSame) {
    GuestWorld world;
    world.node.answers.device_id = 4242;
    ASSERT_TRUE(world.run());
    world.node.serve();
    EXPECT_TRUE(world.does_io());
    EXPECT_EQ(world.guest().device_id(), 4242U);
}

TEST(GuestDevice, RefusedFeaturesOkIsSeenByTheGuest) {
    GuestWorld world;
    world.node.refuse_features_ok();
    EXPECT_FALSE(world.guest().accept_features(world.guest().offered_features()));
    EXPECT_THAT(world.broken(), IsEmpty());
}

TEST(GuestDevice, FeaturesThatTheDeviceRefusesAreRefusedToTheGuest) {
    GuestWorld world;
    world.guest();
    world.node.fail_next("SET_FEATURES", EINVAL);
    EXPECT_FALSE(world.guest().accept_features(world.guest().offered_features()));
    EXPECT_THAT(world.broken(), IsEmpty());
    EXPECT_TRUE(world.run());
}

TEST(GuestDevice, AGuestThatAsksAgainAndAgainForWhatItCannotHaveDoesNotFillTheLog) {
    GuestWorld world;
    world.guest();
    testing::internal::CaptureStderr();
    for (int i = 0; i < 100; ++i) {
        world.node.fail_next("SET_FEATURES", EINVAL);
        EXPECT_FALSE(world.guest().accept_features(world.guest().offered_features()));
    }
    world.close();
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 11) << log;
    EXPECT_THAT(log, HasSubstr("device 'disk0' refuses the features"));
    EXPECT_THAT(log, testing::EndsWith("device 'disk0': lines left out: 90\n"));
}

TEST(GuestDevice, AccessPlatformIsAlwaysSetTowardTheDevice) {
    GuestWorld world("vdpa_sim_block");
    ASSERT_TRUE(world.node.answers.needs_access_platform);
    const std::uint64_t chosen = virtio::feature::version_1;
    EXPECT_TRUE(world.guest().accept_features(chosen));
    EXPECT_EQ(world.node.accepted_features(), chosen | virtio::feature::access_platform);
}

TEST(GuestDevice, TheDeviceGetsTheFeaturesThatTheGuestChose) {
    GuestWorld world;
    const std::uint64_t chosen = world.guest().offered_features() & ~virtio::feature::event_idx;
    ASSERT_NE(chosen, world.guest().offered_features());
    EXPECT_TRUE(world.guest().accept_features(chosen));
    EXPECT_EQ(world.node.accepted_features(), chosen);
}

TEST(GuestDevice, RingBaseIs0AfterAResetAndNobodyBelievesAnotherUnlessSuspended) {
    GuestWorld world;
    world.guest();
    world.node.clear_log();  // of the question whether it could be another
    world.node.serve();
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(world.run());
        EXPECT_TRUE(world.does_io());
        EXPECT_TRUE(world.does_io());
        world.reset();
    }
    EXPECT_THAT(world.node.log_of("SET_VRING_BASE"),
                ElementsAre("SET_VRING_BASE 0 0", "SET_VRING_BASE 0 0", "SET_VRING_BASE 0 0"));
    // A sign of life before each reset: what it says is not used.
    EXPECT_THAT(world.node.log_of("GET_VRING_BASE"),
                ElementsAre("GET_VRING_BASE 0", "GET_VRING_BASE 0", "GET_VRING_BASE 0"));
}

TEST(GuestDevice, QueueCountAndQueueSizesAreTheDevices) {
    GuestWorld world;
    world.node.answers.queue_sizes = {256, 64, 128};
    EXPECT_EQ(world.guest().queue_count(), 3U);
    EXPECT_EQ(world.guest().max_queue_size(0), 256);
    EXPECT_EQ(world.guest().max_queue_size(1), 64);
    EXPECT_EQ(world.guest().max_queue_size(2), 128);
}

TEST(GuestDevice, WithoutSizesPerQueueTheDevicesVringNumHoldsForAll) {
    GuestWorld world("vdpa_sim_net");
    EXPECT_EQ(world.guest().queue_count(), 3U);
    for (unsigned queue = 0; queue < 3; ++queue) {
        EXPECT_EQ(world.guest().max_queue_size(queue), 256);
    }
    EXPECT_TRUE(world.run());
}

TEST(GuestDevice, ADeviceThatDoesNotKeepDriverOkDidNotStart) {
    GuestWorld world;
    ASSERT_TRUE(world.guest().accept_features(world.guest().offered_features()));
    world.node.demand_reset();
    EXPECT_FALSE(world.guest().start(world.setups()));
    ASSERT_EQ(world.broken().size(), 1U);
    EXPECT_THAT(world.broken()[0], HasSubstr("did not start: its status is 0x4f"));
}

struct BadRing {
    std::string name;
    std::function<void(virtio::QueueSetup&, const GuestMemory&)> spoil;
};
void PrintTo(const BadRing& ring, std::ostream* out) {
    *out << ring.name;
}

class GuestDeviceRings : public testing::TestWithParam<BadRing> {};

TEST_P(GuestDeviceRings, AreRefusedAndTheDeviceNeverHearsOfThem) {
    GuestWorld world;
    ASSERT_TRUE(world.guest().accept_features(world.guest().offered_features()));
    world.node.clear_log();
    auto setups = world.setups();
    GetParam().spoil(setups[0], world.memory);
    EXPECT_FALSE(world.guest().start(setups));
    EXPECT_THAT(world.node.log(), IsEmpty());
    EXPECT_EQ(world.guest().state(), State::idle);
    world.reset();
    EXPECT_TRUE(world.run());
}

INSTANTIATE_TEST_SUITE_P(
    Bad, GuestDeviceRings,
    testing::Values(BadRing{"DescriptorsOutsideMemory",
                            [](auto& setup, auto& memory) { setup.descriptors = memory.end(); }},
                    BadRing{"AvailRingThatEndsOutsideMemory",
                            [](auto& setup, auto& memory) {
                                setup.driver_area = Iova{memory.end().value - 16};
                            }},
                    BadRing{"UsedRingThatEndsOutsideMemory",
                            [](auto& setup, auto& memory) {
                                setup.device_area = Iova{memory.end().value - 16};
                            }},
                    BadRing{
                        "AddressesThatWrap",
                        [](auto& setup, auto& /*memory*/) { setup.device_area = Iova{~0ULL - 3}; }},
                    BadRing{"DescriptorsThatAreNotAligned",
                            [](auto& setup, auto& /*memory*/) { setup.descriptors.value += 8; }},
                    BadRing{"AvailRingThatIsNotAligned",
                            [](auto& setup, auto& /*memory*/) { setup.driver_area.value += 1; }},
                    BadRing{"UsedRingThatIsNotAligned",
                            [](auto& setup, auto& /*memory*/) { setup.device_area.value += 2; }}),
    [](const auto& ring) { return ring.param.name; });

}  // namespace
}  // namespace viaduct::test
