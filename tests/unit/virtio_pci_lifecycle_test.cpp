/// The driver's way to a running device and back: features, queues, status, reset
/// (virtio 1.2, 3.1).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/virtio_pci_world.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;
namespace bits = virtio::status;
namespace feature = virtio::feature;

class VirtioPciLifecycle : public testing::Test {
public:
    std::uint64_t offered(std::uint32_t window) const {
        world.write(world.common + VIRTIO_PCI_COMMON_DFSELECT, 4, window);
        return world.read(world.common + VIRTIO_PCI_COMMON_DF, 4);
    }
    std::uint64_t common(unsigned offset, unsigned width) const {
        return world.read(world.common + offset, width);
    }
    void put(unsigned offset, unsigned width, std::uint64_t value) const {
        world.write(world.common + offset, width, value);
    }
    std::uint64_t ignored() const { return world.transport->snapshot().ignored_writes; }
    std::uint8_t generation() const {
        return static_cast<std::uint8_t>(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1));
    }

    const QuietLog quiet;
    World world;
};

TEST_F(VirtioPciLifecycle, OffersFeaturesInWindowsOf32Bits) {
    EXPECT_EQ(offered(0), world.device.features & 0xffffffff);
    EXPECT_EQ(offered(1), world.device.features >> 32);
    EXPECT_EQ(offered(2), 0U);
    EXPECT_EQ(offered(0xffffffff), 0U);
}

TEST_F(VirtioPciLifecycle, TakesTheDriversFeaturesToTheDevice) {
    world.negotiate();
    EXPECT_EQ(world.status(), bits::acknowledge | bits::driver | bits::features_ok);
    EXPECT_EQ(world.device.accepted_features, world.device.features);
    EXPECT_EQ(world.transport->snapshot().negotiated_features, world.device.features);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_GF, 4), world.device.features >> 32);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_GF, 4), 0U);
}

TEST_F(VirtioPciLifecycle, RefusedFeaturesOkIsSeenByTheGuest) {
    world.device.accepts = false;
    world.negotiate();
    EXPECT_EQ(world.status(), bits::acknowledge | bits::driver);
    EXPECT_EQ(world.transport->snapshot().negotiated_features, 0U);
    world.device.accepts = true;
    world.add_status(bits::features_ok);
    EXPECT_EQ(world.status() & bits::features_ok, bits::features_ok) << "a second try is allowed";
}

TEST_F(VirtioPciLifecycle, RefusesFeaturesThatWereNotOffered) {
    world.device.accepted_features = 0;
    world.accept(world.device.features | feature::bit(5));
    world.add_status(bits::features_ok);
    EXPECT_EQ(world.status() & bits::features_ok, 0);
    world.accept(world.device.features & ~feature::version_1);
    world.add_status(bits::features_ok);
    EXPECT_EQ(world.status() & bits::features_ok, 0) << "a legacy driver";
    EXPECT_EQ(world.device.accepted_features, 0U) << "the device was asked all the same";
}

TEST_F(VirtioPciLifecycle, RefusesFeaturesPastBit63UntilTheReset) {
    world.accept(world.device.features);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
    put(VIRTIO_PCI_COMMON_GF, 4, 0);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 7);
    put(VIRTIO_PCI_COMMON_GF, 4, 1);
    world.add_status(bits::features_ok);
    EXPECT_EQ(world.status() & bits::features_ok, 0);
    world.negotiate();
    EXPECT_EQ(world.status() & bits::features_ok, bits::features_ok);
}

TEST_F(VirtioPciLifecycle, FreezesFeaturesOnceAccepted) {
    world.negotiate();
    const auto before = ignored();
    world.accept(0);
    EXPECT_EQ(world.transport->snapshot().negotiated_features, world.device.features);
    EXPECT_EQ(ignored(), before + 2);
}

TEST_F(VirtioPciLifecycle, AddsStatusBitsAndNeverTakesAnyAway) {
    world.set_status(bits::acknowledge | bits::driver);
    world.set_status(bits::acknowledge);
    EXPECT_EQ(world.status(), bits::acknowledge | bits::driver);
    world.set_status(0xff & ~bits::features_ok & ~bits::driver_ok);
    EXPECT_EQ(world.status(), bits::acknowledge | bits::driver | bits::failed)
        << "unknown bits and NEEDS_RESET are not the driver's";
}

TEST_F(VirtioPciLifecycle, DoesNotStartBeforeFeaturesOk) {
    world.set_status(bits::acknowledge | bits::driver);
    world.driver_ok();
    EXPECT_EQ(world.status(), bits::acknowledge | bits::driver);
    EXPECT_EQ(world.device.starts, 0U);
}

TEST_F(VirtioPciLifecycle, StartsWithTheQueuesAsTheDriverSetThemUp) {
    world.negotiate();
    world.select(1);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
    world.place_queue(1, 0x1234'5678'9abc'def0, 0x1'0000'0002, 0x2'0000'0004);
    world.enable_queue();
    world.driver_ok();
    ASSERT_EQ(world.device.starts, 1U);
    ASSERT_EQ(world.device.started.size(), 2U);
    EXPECT_FALSE(world.device.started[0].enabled);
    const virtio::QueueSetup& queue = world.device.started[1];
    EXPECT_TRUE(queue.enabled);
    EXPECT_EQ(queue.size, 64);
    EXPECT_EQ(queue.descriptors, Iova{0x1234'5678'9abc'def0});
    EXPECT_EQ(queue.driver_area, Iova{0x1'0000'0002});
    EXPECT_EQ(queue.device_area, Iova{0x2'0000'0004});
    EXPECT_NE(world.status() & bits::driver_ok, 0);
    world.driver_ok();
    EXPECT_EQ(world.device.starts, 1U) << "it runs already";
}

TEST_F(VirtioPciLifecycle, SaysSoWhenTheDeviceDoesNotStart) {
    world.device.starts_well = false;
    world.run_with_msix();
    EXPECT_NE(world.status() & bits::needs_reset, 0);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
    world.device.starts_well = true;
    world.run_with_msix();
    EXPECT_EQ(world.status() & bits::needs_reset, 0);
}

TEST_F(VirtioPciLifecycle, ReadsAndWritesQueueRegistersInHalves) {
    world.negotiate();
    world.select(0);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x11112220);
    put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x33334444);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x33334444'11112220U);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_DESCHI + 1, 2), 0x3344U);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 2, 0);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0x11112220U) << "half a register is not one";
}

TEST_F(VirtioPciLifecycle, KeepsAQueueSizeThatMakesSense) {
    world.negotiate();
    world.select(0);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256U);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 128);
    for (const unsigned size : {0U, 3U, 100U, 512U, 0x8000U, 0xffffU}) {
        put(VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 128U) << size;
    }
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 256);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256U);
}

TEST_F(VirtioPciLifecycle, HasNoQueuePastTheLast) {
    world.negotiate();
    world.place_queue(2, 0x1000, 0x2000, 0x3000);
    world.enable_queue();
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
    put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    for (unsigned offset = VIRTIO_PCI_COMMON_Q_SIZE; offset < 64; offset += 2) {
        EXPECT_EQ(common(offset, 2), 0U) << offset;
    }
    EXPECT_EQ(world.status() & bits::needs_reset, 0);
    EXPECT_GE(ignored(), 9U);
}

TEST_F(VirtioPciLifecycle, CannotEnableAQueueThatTheDeviceLacks) {
    World lacking(2, [](FakeDevice& device) { device.absent_queue = 1; });
    lacking.negotiate();
    lacking.set_up_queue(1);
    EXPECT_EQ(lacking.read(lacking.common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 0U);
    EXPECT_EQ(lacking.read(lacking.common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
    EXPECT_EQ(lacking.status() & bits::needs_reset, 0);
}

TEST_F(VirtioPciLifecycle, EnablesAQueueOnceAndForGood) {
    world.negotiate();
    world.select(0);
    world.place_queue(0, 0x1000, 0x2000, 0x3000);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
    world.enable_queue();
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1U);
    const auto before = ignored();
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
    world.enable_queue();
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x5000);
    EXPECT_EQ(ignored(), before + 4);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1U);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256U);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0x1000U);
}

TEST_F(VirtioPciLifecycle, LeavesQueuesAloneWhileTheDeviceRuns) {
    world.negotiate();
    world.set_up_queue(0);
    world.driver_ok();
    world.place_queue(1, 0x1000, 0x2000, 0x3000);
    world.enable_queue();
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0U);
}

TEST_F(VirtioPciLifecycle, NeedsAResetAfterAQueueAddressThatMakesNoSense) {
    const std::vector<std::array<std::uint64_t, 3>> nonsense{
        {0x1008, 0x2000, 0x3000},                  // descriptors not on 16 bytes
        {0x1000, 0x2001, 0x3000},                  // avail ring not on 2
        {0x1000, 0x2000, 0x3002},                  // used ring not on 4
        {0xffff'ffff'ffff'f010, 0x2000, 0x3000},   // wraps
        {0x1000, 0xffff'ffff'ffff'fffe, 0x3000},   // wraps
        {0x1000, 0x2000, 0xffff'ffff'ffff'fffc}};  // wraps
    for (const auto& [descriptors, driver, used] : nonsense) {
        world.enable_msix();
        world.negotiate();
        put(VIRTIO_PCI_COMMON_MSIX, 2, 0);
        world.place_queue(0, descriptors, driver, used);
        world.enable_queue();
        EXPECT_NE(world.status() & bits::needs_reset, 0);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
        EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
        world.driver_ok();
        EXPECT_EQ(world.device.starts, 0U) << "started a device that needs a reset";
    }
    world.run_with_msix();
    EXPECT_EQ(world.status() & bits::needs_reset, 0);
    EXPECT_EQ(world.device.starts, 1U);
}

TEST_F(VirtioPciLifecycle, TakesPackedRingsWhereTheyAreNegotiated) {
    World packed(1, [](FakeDevice& device) { device.features |= feature::ring_packed; });
    packed.negotiate();
    packed.place_queue(0, 0x1000, 0xffff'ffff'ffff'ffe0, 0x3000);
    packed.enable_queue();
    EXPECT_EQ(packed.status() & bits::needs_reset, 0) << "an event structure is 4 bytes";
    packed.negotiate();
    packed.place_queue(0, 0x1000, 0x2002, 0x3000);
    packed.enable_queue();
    EXPECT_NE(packed.status() & bits::needs_reset, 0) << "and stands on 4 bytes";
}

TEST_F(VirtioPciLifecycle, ResetPutsEveryRegisterBack) {
    world.run_with_msix();
    put(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    const auto before = generation();
    world.device.on_reset = [&] {
        EXPECT_NE(world.transport->snapshot().status & bits::driver_ok, 0)
            << "status must not read 0 before the reset is complete";
    };
    world.set_status(0);
    EXPECT_EQ(world.device.resets, 2U);
    EXPECT_EQ(world.status(), 0);
    EXPECT_NE(generation(), before);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_DFSELECT, 4), 0U);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_GF, 4), 0U);
    EXPECT_EQ(common(VIRTIO_PCI_COMMON_MSIX, 2), World::no_vector);
    for (unsigned queue = 0; queue < 2; ++queue) {
        world.select(queue);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256U);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), World::no_vector);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0U);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_AVAILLO, 8), 0U);
        EXPECT_EQ(common(VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0U);
    }
    world.device.on_reset = {};
}

TEST_F(VirtioPciLifecycle, StatusReads0AfterAResetThatMendedNothing) {
    world.run_with_msix();
    world.device.on_reset = [&] {
        world.device.broken = true;
        world.device.config_call().signal();
    };
    world.set_status(0);
    world.settle();
    EXPECT_EQ(world.status(), 0) << "a driver waits for 0, for ever if need be";
    world.set_status(bits::acknowledge);
    EXPECT_EQ(world.status(), bits::acknowledge | bits::needs_reset);
    world.device.on_reset = {};
}

TEST_F(VirtioPciLifecycle, IsResetTwentyTimesWhileItRuns) {
    for (unsigned i = 1; i <= 20; ++i) {
        world.run_with_msix();
        EXPECT_EQ(world.device.starts, i);
        world.device.guest_call(0).signal();
        EXPECT_THAT(world.interrupts(), ElementsAre(0x41));
        world.device.guest_call(1).signal();
        world.set_status(0);
        EXPECT_EQ(world.router.attached(), 0U);
        world.interrupts();
    }
}

TEST_F(VirtioPciLifecycle, MachineResetPutsThePciFunctionBackToo) {
    world.run_with_msix();
    world.transport->reset();
    EXPECT_EQ(world.transport->snapshot().status, 0);
    EXPECT_EQ(world.get(PCI_COMMAND, 2), 0U);
    EXPECT_EQ(world.get(PCI_BASE_ADDRESS_0, 4), 0U);
    EXPECT_EQ(
        world.get(World::at(world.msix_capability, PCI_MSIX_FLAGS), 2) & PCI_MSIX_FLAGS_ENABLE, 0U);
    EXPECT_EQ(world.read(world.common, 4), 0xffffffffU);
    EXPECT_EQ(world.doorbells.eventfds(), 0U);
    EXPECT_EQ(world.router.attached(), 0U);
    world.put(PCI_BASE_ADDRESS_0, 4, World::registers_at);
    world.put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    EXPECT_EQ(world.read(world.table + 12, 4), 1U) << "vectors are masked again";
}

TEST_F(VirtioPciLifecycle, TellsAllInItsSnapshot) {
    world.run_with_msix();
    const auto snapshot = world.transport->snapshot();
    EXPECT_EQ(snapshot.status, 15);
    EXPECT_EQ(snapshot.config_generation, generation());
    EXPECT_TRUE(snapshot.msix_enabled);
    ASSERT_EQ(snapshot.queues.size(), 2U);
    EXPECT_EQ(snapshot.queues[1].vector, 2);
    EXPECT_EQ(snapshot.queues[1].setup.descriptors, Iova{0x11'0000});
    EXPECT_EQ(snapshot.queues[1].setup.driver_area, Iova{0x11'4000});
    EXPECT_EQ(snapshot.queues[1].setup.device_area, Iova{0x11'8000});
    EXPECT_EQ(snapshot.queues[1].setup.size, 256);
    EXPECT_TRUE(snapshot.queues[1].setup.enabled);
}

}  // namespace
}  // namespace viaduct::test
