/// What a guest finds before it drives the device: ids, capabilities, the PCI_CFG window.

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/virtio_pci_world.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(VirtioPciFunction, TellsWhatItIsByTheVirtioDeviceId) {
    const std::vector<std::pair<std::uint32_t, std::uint32_t>> classes{
        {1, 0x020000},  {2, 0x010000},  {3, 0x078000},  {4, 0x00ff00},
        {16, 0x038000}, {26, 0x018000}, {42, 0xff0000}, {63, 0xff0000}};
    for (const auto& known : classes) {
        const auto [id, code] = known;
        World world(1, [&](FakeDevice& device) { device.id = known.first; });
        EXPECT_EQ(world.get(PCI_VENDOR_ID, 2), 0x1af4U);
        EXPECT_EQ(world.get(PCI_DEVICE_ID, 2), 0x1040U + id);
        EXPECT_EQ(world.get(PCI_CLASS_REVISION, 4), code << 8 | 1) << "virtio id " << id;
        EXPECT_EQ(world.get(PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4U);
        EXPECT_GE(world.get(PCI_SUBSYSTEM_ID, 2), 0x40U);
        EXPECT_EQ(world.get(PCI_INTERRUPT_PIN, 1), 1U);
    }
}

TEST(VirtioPciFunction, OffersEveryStructureOfTheSpecification) {
    World world(3);
    ASSERT_TRUE(world.find(VIRTIO_PCI_CAP_COMMON_CFG));
    EXPECT_EQ(world.find(VIRTIO_PCI_CAP_COMMON_CFG)->length, 60U);
    EXPECT_EQ(world.find(VIRTIO_PCI_CAP_ISR_CFG)->length, 1U);
    EXPECT_EQ(world.find(VIRTIO_PCI_CAP_DEVICE_CFG)->length, 11U);
    const auto notify = world.find(VIRTIO_PCI_CAP_NOTIFY_CFG);
    EXPECT_EQ(notify->length, 3U * virtio::notify_stride());
    EXPECT_EQ(world.get(World::at(notify->capability, VIRTIO_PCI_NOTIFY_CAP_MULT), 4),
              virtio::notify_stride());
    EXPECT_TRUE(world.find(VIRTIO_PCI_CAP_PCI_CFG));
    EXPECT_EQ(world.get(World::at(world.msix_capability, PCI_MSIX_FLAGS), 2), 3U)
        << "a vector per queue and one for the configuration";
}

TEST(VirtioPciFunction, HasNoDeviceStructureWithoutAConfigurationSpace) {
    World world(1, [](FakeDevice& device) { device.config.clear(); });
    EXPECT_FALSE(world.find(VIRTIO_PCI_CAP_DEVICE_CFG));
    EXPECT_TRUE(world.find(VIRTIO_PCI_CAP_PCI_CFG));
}

TEST(VirtioPciFunction, HasRoomForALargeConfigurationSpace) {
    World world(1, [](FakeDevice& device) { device.config.assign(0x5000, std::byte{0x77}); });
    const auto place = world.find(VIRTIO_PCI_CAP_DEVICE_CFG);
    EXPECT_EQ(place->length, 0x5000U);
    EXPECT_EQ(world.read(place->address + 0x4ffc, 4), 0x77777777U);
    EXPECT_EQ(world.read(place->address + 0x4ffe, 4), 0x7777U);
}

TEST(VirtioPciFunction, ReadsNothingWhereNoStructureIs) {
    World world(1);
    EXPECT_EQ(world.read(world.common + 0x1ff0, 4), 0U) << "behind ISR, on its page";
    EXPECT_EQ(world.read(world.common + 0xffe, 4), 0xffffffffU) << "across two structures";
    world.write(world.isr, 4, 0xffffffff);
}

class VirtioPciConfigWindow : public testing::Test {
public:
    void aim(std::uint8_t bar, std::uint32_t offset, std::uint32_t length) const {
        world.put(World::at(window, VIRTIO_PCI_CAP_BAR), 1, bar);
        world.put(World::at(window, VIRTIO_PCI_CAP_OFFSET), 4, offset);
        world.put(World::at(window, VIRTIO_PCI_CAP_LENGTH), 4, length);
    }
    std::uint32_t read(unsigned width) const { return world.get(World::at(window, 16), width); }
    void write(unsigned width, std::uint32_t value) const {
        world.put(World::at(window, 16), width, value);
    }

    World world;
    const std::uint16_t window = world.find(VIRTIO_PCI_CAP_PCI_CFG)->capability;
    const std::uint32_t device_offset =
        static_cast<std::uint32_t>(world.config - World::registers_at);
};

TEST_F(VirtioPciConfigWindow, ReachesTheRegistersWithoutTheBars) {
    world.put(PCI_COMMAND, 2, 0);
    aim(0, VIRTIO_PCI_COMMON_NUMQ, 2);
    EXPECT_EQ(read(2), 2U);
    aim(0, VIRTIO_PCI_COMMON_STATUS, 1);
    write(1, virtio::status::acknowledge);
    EXPECT_EQ(read(1), virtio::status::acknowledge);
    EXPECT_EQ(world.transport->snapshot().status, virtio::status::acknowledge);
}

TEST_F(VirtioPciConfigWindow, AccessesExactlyTheLengthThatWasAskedFor) {
    aim(0, device_offset + 4, 2);
    write(4, 0x33221100);
    EXPECT_EQ(read(4) & 0xffffU, 0x1100U);
    EXPECT_THAT(world.device.config_writes,
                ElementsAre(Pair(4, ElementsAre(std::byte{0x00}, std::byte{0x11}))));
    EXPECT_THAT(world.device.config_reads, ElementsAre(Pair(4, 2)));
}

TEST_F(VirtioPciConfigWindow, NotifiesAQueue) {
    aim(virtio::notify_bar, virtio::notify_stride(), 2);
    write(2, 1);
    EXPECT_TRUE(world.device.guest_kick(1).take());
    EXPECT_FALSE(world.device.guest_kick(0).pending());
    aim(virtio::notify_bar, virtio::notify_stride() + 2, 2);
    write(2, 1);
    aim(virtio::notify_bar, 2 * virtio::notify_stride(), 2);
    write(2, 1);
    aim(virtio::notify_bar, 0xfffff000, 2);
    write(2, 1);
    EXPECT_FALSE(world.device.guest_kick(0).pending());
    EXPECT_FALSE(world.device.guest_kick(1).pending());
}

TEST_F(VirtioPciConfigWindow, DoesNothingWhenItsAimMakesNoSense) {
    for (const std::uint8_t bar : std::to_array<std::uint8_t>({0, 1, 2, 3, 5, 6, 255})) {
        for (const std::uint32_t offset : {0U, 1U, 0x14U, 0x3cU, 0x1000U, 0x7fffU, 0xfffffffeU}) {
            for (const std::uint32_t length : {0U, 1U, 2U, 3U, 4U, 5U, 8U, 0x80000000U, ~0U}) {
                aim(bar, offset, length);
                write(4, 0);
                (void)read(4);
                (void)read(1);
            }
        }
    }
    aim(7, 0, 4);
    write(4, 0x12345678);
    EXPECT_EQ(read(4), 0x12345678U) << "the window is memory when it leads nowhere";
}

}  // namespace
}  // namespace viaduct::test
