#include "vdpa/soft/soft_device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"

namespace viaduct::soft {
namespace {

namespace status = virtio::status;
namespace feature = virtio::feature;
using test::error_of;
using test::eventually;
using test::SoftDisk;
using test::TemporaryImage;
using testing::HasSubstr;

class SoftDeviceRules : public testing::Test {
protected:
    SoftDeviceOptions options(unsigned queues = 1) const {
        SoftDeviceOptions options;
        options.image = file_.path();
        options.queues = queues;
        return options;
    }
    virtio_blk_config config_of(SoftDevice& device) const {
        virtio_blk_config config{};
        device.read_config(
            0, std::as_writable_bytes(std::span(&config, 1)).first(device.config_size()));
        return config;
    }

    TemporaryImage file_{"/dev/shm"};
};

TEST_F(SoftDeviceRules, ItIsABlockDeviceWithTheFeaturesOfTheRingAndTheDisk) {
    SoftDevice device(options());
    EXPECT_EQ(device.device_id(), 2U);
    EXPECT_EQ(device.name(), file_.path());
    const std::uint64_t expected =
        feature::version_1 | feature::access_platform | feature::event_idx |
        feature::indirect_desc | feature::bit(VIRTIO_BLK_F_SEG_MAX) |
        feature::bit(VIRTIO_BLK_F_BLK_SIZE) | feature::bit(VIRTIO_BLK_F_TOPOLOGY) |
        feature::bit(VIRTIO_BLK_F_FLUSH) | feature::bit(VIRTIO_BLK_F_DISCARD) |
        feature::bit(VIRTIO_BLK_F_WRITE_ZEROES);
    EXPECT_EQ(device.features(), expected);
}

TEST_F(SoftDeviceRules, OffersMultiqueueWithSeveralQueues) {
    SoftDevice device(options(4));
    EXPECT_EQ(device.queue_count(), 4U);
    EXPECT_NE(device.features() & feature::bit(VIRTIO_BLK_F_MQ), 0U);
    EXPECT_EQ(config_of(device).num_queues, 4);
}

TEST_F(SoftDeviceRules, ItIsReadOnlyWhenOpenedSo) {
    SoftDeviceOptions read_only = options();
    read_only.read_only = true;
    SoftDevice device(read_only);
    EXPECT_NE(device.features() & feature::bit(VIRTIO_BLK_F_RO), 0U);
    EXPECT_EQ(device.features() & feature::bit(VIRTIO_BLK_F_DISCARD), 0U);
    EXPECT_EQ(device.features() & feature::bit(VIRTIO_BLK_F_WRITE_ZEROES), 0U);
}

TEST_F(SoftDeviceRules, ConfigurationDescribesTheDisk) {
    SoftDevice device(options());
    EXPECT_EQ(device.config_size(), 60U);
    const virtio_blk_config config = config_of(device);
    EXPECT_EQ(config.capacity, (8U << 20) / 512);
    EXPECT_EQ(config.seg_max, 126U);
    EXPECT_EQ(config.blk_size, 512U);
    EXPECT_EQ(config.physical_block_exp, 3);
    EXPECT_EQ(config.num_queues, 1);
    EXPECT_EQ(config.max_discard_seg, 16U);
    EXPECT_EQ(config.write_zeroes_may_unmap, 1);
}

TEST_F(SoftDeviceRules, ConfigurationIsReadByTheByteAndWritesAreDropped) {
    SoftDevice device(options());
    std::array<std::byte, 1> byte{};
    device.read_config(1, byte);
    EXPECT_EQ(byte[0], std::byte{0x40});  // capacity 0x4000
    device.write_config(1, std::array{std::byte{0xff}});
    device.read_config(1, byte);
    EXPECT_EQ(byte[0], std::byte{0x40});
}

TEST_F(SoftDeviceRules, ConfigurationEndsWhereItEnds) {
    SoftDevice device(options());
    std::array<std::byte, 4> bytes{};
    EXPECT_EQ(error_of([&] { device.read_config(56, bytes); }), "");
    EXPECT_THAT(error_of([&] { device.read_config(57, bytes); }), HasSubstr("57"));
    EXPECT_THAT(error_of([&] { device.read_config(0xffffffff, bytes); }),
                HasSubstr("there are 60"));
    EXPECT_THAT(error_of([&] { device.write_config(60, bytes); }), HasSubstr("there are 60"));
}

TEST_F(SoftDeviceRules, OptionsThatDoNotFitAreRefused) {
    SoftDeviceOptions bad = options(0);
    EXPECT_THAT(error_of([&] { SoftDevice device(bad); }), HasSubstr("queues= takes 1 to 64"));
    bad = options(65);
    EXPECT_THAT(error_of([&] { SoftDevice device(bad); }), HasSubstr("queues= takes 1 to 64"));
    for (const unsigned size : {0U, 2U, 100U, 2048U}) {
        bad = options();
        bad.queue_size = static_cast<std::uint16_t>(size);
        EXPECT_THAT(error_of([&] { SoftDevice device(bad); }), HasSubstr("power of two")) << size;
    }
    bad = options();
    bad.serial = "twenty-one characters";
    EXPECT_THAT(error_of([&] { SoftDevice device(bad); }), HasSubstr("at most 20"));
}

TEST_F(SoftDeviceRules, StatusBitsOnlyAddUp) {
    SoftDevice device(options());
    device.set_status(status::acknowledge);
    device.set_status(status::acknowledge | status::driver);
    EXPECT_EQ(device.status(), status::acknowledge | status::driver);
    EXPECT_THAT(error_of([&] { device.set_status(status::driver); }), HasSubstr("only add up"));
    EXPECT_THAT(error_of([&] { device.set_status(0); }), HasSubstr("only add up"));
    device.reset();
    EXPECT_EQ(device.status(), 0);
}

TEST_F(SoftDeviceRules, FeaturesThatAreNotOfferedAreRefused) {
    SoftDevice device(options());
    EXPECT_THAT(error_of([&] { device.set_features(device.features() | feature::ring_packed); }),
                HasSubstr("not offered"));
}

TEST_F(SoftDeviceRules, FeaturesAreFixedByFeaturesOk) {
    SoftDisk disk(options());
    disk.negotiate(disk.device().features());
    EXPECT_THAT(error_of([&] { disk.device().set_features(disk.device().features()); }),
                HasSubstr("after FEATURES_OK"));
}

TEST_F(SoftDeviceRules, FeaturesOkIsNotKeptWithoutVersion1OrAccessPlatform) {
    for (const std::uint64_t missing : {feature::version_1, feature::access_platform}) {
        SoftDevice device(options());
        device.set_status(status::acknowledge | status::driver);
        device.set_features(device.features() & ~missing);
        device.set_status(status::acknowledge | status::driver | status::features_ok);
        EXPECT_EQ(device.status() & status::features_ok, 0);
        EXPECT_THAT(error_of([&] {
                        device.set_status(status::acknowledge | status::driver |
                                          status::features_ok | status::driver_ok);
                    }),
                    HasSubstr("DRIVER_OK without FEATURES_OK"));
    }
}

TEST_F(SoftDeviceRules, QueueSizesArePowersOfTwoUpToTheMaximum) {
    SoftDevice device(options());
    EXPECT_EQ(device.max_queue_size(0), 256);
    for (const unsigned size : {0U, 3U, 512U}) {
        EXPECT_THAT(error_of([&] { device.set_queue_size(0, static_cast<std::uint16_t>(size)); }),
                    HasSubstr("power of two up to 256"));
    }
    device.set_queue_size(0, 1);
    device.set_queue_size(0, 256);
}

TEST_F(SoftDeviceRules, AQueueThatIsNotThereIsRefused) {
    SoftDevice device(options(2));
    EXPECT_THAT(error_of([&] { device.max_queue_size(2); }), HasSubstr("has 2"));
    EXPECT_THAT(error_of([&] { device.enable_queue(2, true); }), HasSubstr("has 2"));
    const EventFd event;
    EXPECT_THAT(error_of([&] { device.set_kick(7, event); }), HasSubstr("has 2"));
}

TEST_F(SoftDeviceRules, RingsCannotChangeWhileTheDeviceRunsUnlessSuspended) {
    SoftDisk disk(options());
    disk.start();
    SoftDevice& device = disk.device();
    const auto addresses = disk.driver().addresses();
    EXPECT_THAT(error_of([&] { device.set_queue_size(0, 64); }),
                HasSubstr("while the device runs"));
    EXPECT_THAT(error_of([&] { device.set_ring_addresses(0, addresses); }),
                HasSubstr("while the device runs"));
    EXPECT_THAT(error_of([&] { device.set_ring_state(0, vdpa::SplitRingState{}); }),
                HasSubstr("while the device runs"));
    EXPECT_THAT(error_of([&] { device.ring_state(0); }), HasSubstr("suspended"));
    device.suspend();
    device.set_queue_size(0, 64);
    device.set_ring_addresses(0, addresses);
    device.set_ring_state(0, vdpa::SplitRingState{});
    EXPECT_EQ(device.ring_state(0), vdpa::RingState{vdpa::SplitRingState{0}});
}

TEST_F(SoftDeviceRules, ResumeWithoutSuspendIsRefused) {
    SoftDevice device(options());
    EXPECT_THAT(error_of([&] { device.resume(); }), HasSubstr("without suspend"));
}

TEST_F(SoftDeviceRules, RingBaseIsZeroAfterAReset) {
    SoftDisk disk(options());
    disk.driver().start_at(virtio::RingIndex(1234));
    disk.start(virtio::RingIndex(1234));
    disk.device().reset();
    disk.device().suspend();
    EXPECT_EQ(disk.device().ring_state(0), vdpa::RingState{vdpa::SplitRingState{0}});
}

TEST_F(SoftDeviceRules, ARingOutsideMemoryNeedsAResetAndSaysSo) {
    SoftDisk disk(options());
    disk.negotiate(disk.device().features());
    disk.set_up_queues();
    disk.device().set_ring_addresses(0, {Iova{0}, Iova{0x1000}, Iova{0x2000}});
    disk.go();
    EXPECT_NE(disk.device().status() & status::needs_reset, 0);
    EXPECT_TRUE(disk.config_call().take());
    disk.device().reset();
    EXPECT_EQ(disk.device().status(), 0);
}

TEST_F(SoftDeviceRules, CallsAndTheConfigCallAreForgottenByAResetButKicksAndTheMapAreNot) {
    SoftDisk disk(options());
    disk.start();
    ASSERT_EQ(disk.flush(), VIRTIO_BLK_S_OK);
    disk.device().reset();
    (void)disk.driver().call_event().take();  // the flush's
    disk.driver().start_at({});
    disk.negotiate(disk.device().features());
    disk.device().set_queue_size(0, disk.driver().setup().size);
    disk.device().set_ring_addresses(0, disk.driver().addresses());
    disk.device().enable_queue(0, true);
    disk.go();
    for (std::uint16_t done = 1; done <= 2; ++done) {
        disk.post(0, VIRTIO_BLK_T_FLUSH, 0, Iova{}, 0);
        disk.driver().publish();
        disk.driver().kick();
        EXPECT_TRUE(eventually([&] { return disk.driver().ring().used_idx().load() == done; }))
            << "the kick or the map is gone";
    }
    EXPECT_FALSE(disk.driver().call_event().pending());
    disk.driver().put_available(999);
    disk.driver().publish();
    disk.driver().kick();
    EXPECT_TRUE(eventually([&] { return (disk.device().status() & status::needs_reset) != 0; }));
    EXPECT_FALSE(disk.config_call().pending());
}

TEST_F(SoftDeviceRules, AMapOrAnEventfdMayChangeWhileTheDeviceRuns) {
    SoftDisk disk(options());
    disk.start();
    ASSERT_EQ(disk.flush(), VIRTIO_BLK_S_OK);
    const test::GuestMemory more(1 << 20, Iova{1ULL << 40});
    disk.device().map(std::array{more.region()});
    const EventFd kick;
    disk.device().set_kick(0, kick);
    disk.post(0, VIRTIO_BLK_T_IN, 0, Iova{1ULL << 40}, 512);
    disk.driver().publish();
    kick.signal();
    EXPECT_TRUE(disk.driver().wait_used());
    disk.device().unmap(std::array{more.region()});
    disk.device().set_kick(0, disk.driver().kick_event());
    EXPECT_EQ(disk.run(0, VIRTIO_BLK_T_IN, 0, Iova{1ULL << 40}, 512), VIRTIO_BLK_S_IOERR);
}

TEST_F(SoftDeviceRules, AQueueMayBeEnabledAndDisabledWhileTheDeviceRuns) {
    SoftDisk disk(options());
    disk.start();
    ASSERT_EQ(disk.flush(), VIRTIO_BLK_S_OK);
    disk.device().enable_queue(0, false);
    const auto request = disk.post(0, VIRTIO_BLK_T_FLUSH, 0, Iova{}, 0);
    disk.driver().publish_and_kick();
    EXPECT_FALSE(disk.driver().wait_used(std::chrono::milliseconds(50)));
    disk.device().enable_queue(0, true);
    EXPECT_EQ(disk.finish(0, request), VIRTIO_BLK_S_OK);
}

}  // namespace
}  // namespace viaduct::soft
