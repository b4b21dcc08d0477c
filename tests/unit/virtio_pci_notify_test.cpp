/// How the guest's notifications reach the device.

#include <gtest/gtest.h>

#include "tests/unit/virtio_pci_world.hpp"

namespace viaduct::test {
namespace {

class VirtioPciNotify : public testing::Test {
public:
    static Gpa address(unsigned queue, std::uint64_t bar = World::notify_at) {
        return {bar + std::uint64_t{queue} * virtio::notify_stride()};
    }
    void move_bar(std::uint64_t to) const {
        world.put(PCI_BASE_ADDRESS_2, 4, static_cast<std::uint32_t>(to));
        world.put(PCI_BASE_ADDRESS_3, 4, static_cast<std::uint32_t>(to >> 32));
    }
    bool kicked(unsigned queue) const { return world.device.guest_kick(queue).take(); }

    const QuietLog quiet;
    World world;
};

TEST_F(VirtioPciNotify, EachQueueHasANotifyAddressOnAPageOfItsOwn) {
    for (unsigned queue = 0; queue < 2; ++queue) {
        world.select(queue);
        EXPECT_EQ(world.read(world.common + VIRTIO_PCI_COMMON_Q_NOFF, 2), queue);
    }
    EXPECT_GE(virtio::notify_stride(), 4096U);
}

TEST_F(VirtioPciNotify, AStoreRingsTheDoorbellOfAnEnabledQueue) {
    EXPECT_EQ(world.doorbells.made, 0U) << "doorbells cost time, and nothing runs yet";
    world.negotiate();
    world.set_up_queue(1);
    world.driver_ok();
    EXPECT_TRUE(world.doorbells.ring(address(1)));
    EXPECT_TRUE(kicked(1));
    EXPECT_FALSE(world.doorbells.ring(address(0))) << "queue 0 was never enabled";
}

TEST_F(VirtioPciNotify, DoorbellsStayOverDeviceResets) {
    world.run_with_msix();
    EXPECT_EQ(world.doorbells.made, 2U);
    for (int i = 0; i < 5; ++i) world.run_with_msix();
    EXPECT_EQ(world.doorbells.made, 2U);
    EXPECT_EQ(world.doorbells.eventfds(), 2U);
}

TEST_F(VirtioPciNotify, DoorbellsFollowTheBar) {
    world.run_with_msix();
    move_bar(0x9'0000'0000);
    EXPECT_EQ(world.doorbells.eventfds(), 2U);
    EXPECT_TRUE(world.doorbells.ring(address(1, 0x9'0000'0000)));
    EXPECT_TRUE(kicked(1));
    EXPECT_FALSE(world.doorbells.ring(address(1)));
    world.put(PCI_COMMAND, 2, 0);
    EXPECT_EQ(world.doorbells.eventfds(), 0U) << "a BAR that is not decoded has no doorbells";
    world.put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    EXPECT_EQ(world.doorbells.eventfds(), 2U);
}

TEST_F(VirtioPciNotify, AStoreThatReachesTheVmmKicksAllTheSame) {
    world.doorbells.refuse = true;
    world.run_with_msix();
    EXPECT_EQ(world.device.starts, 1U);
    for (const unsigned width : {1U, 2U, 4U, 8U}) {
        world.write(address(1).value, width, 1);
        EXPECT_TRUE(kicked(1));
    }
    EXPECT_FALSE(kicked(0));
}

TEST_F(VirtioPciNotify, StoresBesideTheNotifyAddressesAreIgnored) {
    world.run_with_msix();
    for (std::uint64_t offset = 1; offset < virtio::notify_stride(); ++offset) {
        world.write(address(0).value + offset, 2, 0);
    }
    world.write(address(2).value, 2, 2);
    EXPECT_FALSE(kicked(0));
    EXPECT_FALSE(kicked(1));
    EXPECT_EQ(world.read(address(0).value, 4), 0U);
}

class VirtioPciDoorbellPage : public VirtioPciNotify {
public:
    VirtioPciDoorbellPage() {
        for (int i = 0; i < 2; ++i) world.device.doorbells.emplace_back(virtio::notify_stride());
    }
    bool rung(unsigned queue) {
        return std::exchange(world.device.doorbells[queue][0], std::byte{0}) != std::byte{0};
    }
};

TEST_F(VirtioPciDoorbellPage, IsMappedAtTheNotifyAddressWhileTheDeviceRuns) {
    EXPECT_EQ(world.doorbells.pages(), 0U);
    world.run_with_msix();
    EXPECT_EQ(world.doorbells.pages(), 2U);
    EXPECT_TRUE(world.doorbells.ring(address(1)));
    EXPECT_TRUE(rung(1));
    EXPECT_FALSE(kicked(1));
    world.set_status(0);
    EXPECT_EQ(world.doorbells.pages(), 0U) << "a stopped device's page is not the guest's";
    world.run_with_msix();
    EXPECT_EQ(world.doorbells.pages(), 2U);
}

TEST_F(VirtioPciDoorbellPage, IsGoneBeforeTheDeviceIsReset) {
    world.run_with_msix();
    std::size_t pages = 99;
    world.device.on_reset = [&] { pages = world.doorbells.pages(); };
    world.set_status(0);
    EXPECT_EQ(pages, 0U);
}

TEST_F(VirtioPciDoorbellPage, FollowsTheBar) {
    world.run_with_msix();
    move_bar(0x9'0000'0000);
    EXPECT_EQ(world.doorbells.pages(), 2U);
    EXPECT_TRUE(world.doorbells.ring(address(0, 0x9'0000'0000)));
    EXPECT_TRUE(rung(0));
    EXPECT_FALSE(world.doorbells.ring(address(0)));
}

TEST_F(VirtioPciDoorbellPage, GivesWayToAnEventfdWhenItCannotBeMapped) {
    world.doorbells.refuse_pages = true;
    world.run_with_msix();
    EXPECT_TRUE(world.doorbells.ring(address(1)));
    EXPECT_TRUE(kicked(1));
    EXPECT_FALSE(rung(1));
}

TEST_F(VirtioPciDoorbellPage, GivesWayToAnEventfdWhenTheDeviceTakesItBackAndComesAgain) {
    world.run_with_msix();
    ASSERT_EQ(world.doorbells.pages(), 2U);
    const auto taken = std::exchange(world.device.doorbells, {});
    world.device.doorbell_listener();
    EXPECT_EQ(world.doorbells.pages(), 0U);
    EXPECT_TRUE(world.doorbells.ring(address(0)));
    EXPECT_TRUE(kicked(0));
    world.device.doorbells = taken;
    world.device.doorbell_listener();
    EXPECT_EQ(world.doorbells.pages(), 2U);
}

TEST_F(VirtioPciDoorbellPage, IsNotMappedForADeviceThatDidNotStart) {
    world.device.starts_well = false;
    world.run_with_msix();
    EXPECT_EQ(world.doorbells.pages(), 0U);
}

}  // namespace
}  // namespace viaduct::test
