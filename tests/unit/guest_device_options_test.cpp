// GuestDevice: what --device's properties mean for a device of a given type, and which features its
// guest is offered.
#include "base/error.hpp"
#include "tests/unit/guest_device_world.hpp"

namespace viaduct::test {
namespace {

using datapath::Policy;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

namespace feature = virtio::feature;

constexpr std::uint32_t some_type = 4242;

TEST(GuestDeviceOptions, KeepsIdAndPath) {
    GuestWorld world;
    EXPECT_EQ(world.guest().id(), "disk0");
    EXPECT_EQ(world.guest().path(), GuestWorld::path);
    EXPECT_EQ(world.guest().config_size(), 0x3cU);
    EXPECT_EQ(world.guest().device_features(), world.node.answers.features);
}

TEST(GuestDeviceOptions, ADiskChoosesItsDataPathByItself) {
    GuestWorld world;
    EXPECT_EQ(world.guest().policy(), Policy::automatic);
}

TEST(GuestDeviceOptions, EveryOtherTypeIsFastOnlyByDefault) {
    GuestWorld net("vdpa_sim_net");
    EXPECT_EQ(net.guest().policy(), Policy::fast_only);
    GuestWorld unknown;
    unknown.node.answers.device_id = some_type;
    EXPECT_EQ(unknown.guest().policy(), Policy::fast_only);
}

TEST(GuestDeviceOptions, TheDataPathIsAsAskedFor) {
    for (const Policy policy : {Policy::automatic, Policy::fast, Policy::fast_only}) {
        GuestWorld world;
        world.options.policy = policy;
        EXPECT_EQ(world.guest().policy(), policy);
    }
    GuestWorld net("vdpa_sim_net");
    net.options.policy = Policy::fast;
    EXPECT_EQ(net.guest().policy(), Policy::fast);
}

TEST(GuestDeviceOptions, ANetworkCardThatIsToChooseHasNoControlQueue) {
    GuestWorld fixed("vdpa_sim_net");
    EXPECT_FALSE(fixed.guest().switchable());
    EXPECT_EQ(fixed.guest().offered_features(), fixed.guest().device_features());
    GuestWorld world("vdpa_sim_net");
    world.options.policy = Policy::automatic;
    EXPECT_TRUE(world.guest().switchable());
    constexpr std::uint64_t control_queue = feature::bit(17);
    EXPECT_NE(world.guest().device_features() & control_queue, 0U);
    EXPECT_EQ(world.guest().offered_features() & control_queue, 0U);
}

TEST(GuestDeviceOptions, AnUnknownTypeCannotChooseAndItsErrorNamesIt) {
    GuestWorld world;
    world.node.answers.device_id = some_type;
    world.options.policy = Policy::automatic;
    EXPECT_THAT([&] { world.guest(); },
                ThrowsMessage<Error>(AllOf(HasSubstr("'disk0'"), HasSubstr("device-4242"),
                                           HasSubstr("datapath=fast-only"))));
    EXPECT_FALSE(world.node.is_open());
}

TEST(GuestDeviceOptions, ASwitchableDeviceOffersOfTheTransportBitsThoseThatTheSlowPathCarries) {
    GuestWorld world;
    world.node.answers.features = ~0ULL;
    constexpr std::uint64_t carried =
        feature::version_1 | feature::access_platform | feature::event_idx | feature::indirect_desc;
    EXPECT_EQ(world.guest().offered_features(), carried | ~feature::transport_mask);
    for (const std::uint64_t withheld :
         {feature::ring_packed, feature::in_order, feature::notify_on_empty,
          feature::notification_data, feature::ring_reset, feature::sr_iov, feature::admin_vq}) {
        EXPECT_EQ(world.guest().offered_features() & withheld, 0U) << std::hex << withheld;
    }
}

TEST(GuestDeviceOptions, AFastOnlyDeviceOffersAllThatItHasAndTheTransportCarries) {
    GuestWorld world;
    world.options.policy = Policy::fast_only;
    world.node.answers.features = ~0ULL;
    EXPECT_EQ(world.guest().offered_features(),
              ~(feature::ring_packed | feature::ring_reset | feature::admin_vq | feature::sr_iov |
                feature::notification_data | feature::notif_config_data));
}

TEST(GuestDeviceOptions, OffersNothingThatTheDeviceLacks) {
    GuestWorld world("vdpa_sim_block");
    EXPECT_EQ(world.guest().offered_features(), 0x300007646U);
    EXPECT_EQ(world.guest().offered_features() & feature::event_idx, 0U);
}

TEST(GuestDeviceOptions, LimitsAreForDisks) {
    GuestWorld net("vdpa_sim_net");
    net.options.policy = Policy::automatic;
    net.options.throttle.iops.average = 100;
    EXPECT_THAT([&] { net.guest(); },
                ThrowsMessage<Error>(AllOf(HasSubstr("'disk0'"), HasSubstr("net device"),
                                           HasSubstr("limits are for disks"))));
    GuestWorld disk;
    disk.options.throttle.iops.average = 100;
    EXPECT_EQ(disk.guest().throttle_group()->limits().iops.average, 100U);
}

TEST(GuestDeviceOptions, LimitsWithAFixedFastPathAreRefused) {
    for (const Policy policy : {Policy::fast, Policy::fast_only}) {
        GuestWorld world;
        world.options.policy = policy;
        world.options.throttle.iops.average = 100;
        EXPECT_THAT([&] { world.guest(); },
                    ThrowsMessage<Error>(AllOf(HasSubstr("'disk0'"), HasSubstr("I/O limits"),
                                               HasSubstr("datapath=auto"))));
    }
}

TEST(GuestDeviceOptions, QueueSizeLimitsEveryQueue) {
    GuestWorld world("vduse_block_two_queues");
    world.options.queue_size = 128;
    EXPECT_EQ(world.guest().max_queue_size(0), 128);
    EXPECT_EQ(world.guest().max_queue_size(1), 128);
}

TEST(GuestDeviceOptions, AQueueSizeUpToTheDevicesIsTaken) {
    GuestWorld world;
    world.options.queue_size = 256;
    EXPECT_EQ(world.guest().max_queue_size(0), 256);
}

TEST(GuestDeviceOptions, AQueueSizeThatIsNoPowerOfTwoNamesTheOnesBesideIt) {
    GuestWorld world;
    world.options.queue_size = 100;
    EXPECT_THAT([&] { world.guest(); },
                ThrowsMessage<Error>(AllOf(HasSubstr("queue-size=100"), HasSubstr("'disk0'"),
                                           HasSubstr("64 or 128"))));
}

TEST(GuestDeviceOptions, AQueueSizeOverOneOfTheQueuesNamesThatQueueAndItsLimit) {
    GuestWorld world;
    world.node.answers.queue_sizes = {256, 64};
    world.options.queue_size = 128;
    EXPECT_THAT([&] { world.guest(); },
                ThrowsMessage<Error>(AllOf(HasSubstr("queue-size=128"), HasSubstr("queue 1"),
                                           HasSubstr(GuestWorld::path), HasSubstr("64 or less"))));
}

TEST(GuestDeviceOptions, ADeviceThatCannotBeOpenedSaysWhy) {
    GuestWorld world;
    const auto other = world.node.open();
    EXPECT_THAT([&] { world.guest(); }, ThrowsMessage<Error>(HasSubstr("Device or resource busy")));
}

}  // namespace
}  // namespace viaduct::test
