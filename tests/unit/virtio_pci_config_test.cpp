/// Device-specific configuration (virtio 1.2, 4.1.4.6), and the names of types and features.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/virtio_pci_world.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(VirtioPciDeviceConfig, ConfigReadsAreNeverCachedAndWritesAreByteExact) {
    World world;
    world.device.config[4] = std::byte{0x11};
    EXPECT_EQ(world.read(world.config + 4, 1), 0x11U);
    world.device.config[4] = std::byte{0x22};
    EXPECT_EQ(world.read(world.config + 4, 1), 0x22U) << "an old value came back";
    EXPECT_THAT(world.device.config_reads, ElementsAre(Pair(4, 1), Pair(4, 1)));
    EXPECT_THAT(world.device.config_writes, IsEmpty());

    world.write(world.config + 7, 1, 0x5a);
    EXPECT_THAT(world.device.config_writes, ElementsAre(Pair(7, ElementsAre(std::byte{0x5a}))))
        << "a write of one byte is a write of one byte";
    EXPECT_EQ(world.device.config[6], std::byte{0xa5});
    EXPECT_EQ(world.device.config[8], std::byte{0xa5});
}

TEST(VirtioPciDeviceConfig, PassesEveryWidthAndOffsetAsItIs) {
    World world;
    for (const unsigned width : {1U, 2U, 4U, 8U}) {
        for (unsigned offset = 0; offset + width <= 11; ++offset) {
            world.device.config_reads.clear();
            world.device.config_writes.clear();
            (void)world.read(world.config + offset, width);
            world.write(world.config + offset, width, 0);
            EXPECT_THAT(world.device.config_reads, ElementsAre(Pair(offset, width)));
            ASSERT_EQ(world.device.config_writes.size(), 1U);
            EXPECT_EQ(world.device.config_writes[0].first, offset);
            EXPECT_EQ(world.device.config_writes[0].second.size(), width);
        }
    }
    EXPECT_EQ(world.device.out_of_bounds, 0U);
}

TEST(VirtioPciDeviceConfig, EndsWhereTheDevicesConfigurationEnds) {
    World world;
    EXPECT_EQ(world.read(world.config + 9, 4), 0xa5a5U) << "what lies past the end reads 0";
    world.write(world.config + 9, 4, 0x44332211);
    EXPECT_THAT(world.device.config_writes,
                ElementsAre(Pair(9, ElementsAre(std::byte{0x11}, std::byte{0x22}))));
    EXPECT_EQ(world.read(world.config + 11, 4), 0U);
    world.write(world.config + 11, 4, 1);
    EXPECT_EQ(world.read(world.config + 0xffe, 2), 0U);
    EXPECT_THAT(world.device.config_reads, ElementsAre(Pair(9, 2)));
    EXPECT_EQ(world.device.out_of_bounds, 0U);
}

TEST(VirtioSpec, NamesDeviceTypes) {
    EXPECT_EQ(virtio::device_type_name(1), "net");
    EXPECT_EQ(virtio::device_type_name(2), "block");
    EXPECT_EQ(virtio::device_type_name(26), "fs");
    EXPECT_EQ(virtio::device_type_name(0), "device-0");
    EXPECT_EQ(virtio::device_type_name(1234), "device-1234");
}

TEST(VirtioSpec, NamesFeaturesByTheirType) {
    const auto bits = virtio::feature::version_1 | virtio::feature::event_idx |
                      virtio::feature::bit(12) | virtio::feature::bit(49);
    EXPECT_THAT(virtio::feature_names(2, bits), ElementsAre("VIRTIO_BLK_F_MQ", "VIRTIO_F_EVENT_IDX",
                                                            "VIRTIO_F_VERSION_1", "bit 49"));
    EXPECT_THAT(virtio::feature_names(1, bits),
                ElementsAre("VIRTIO_NET_F_HOST_TSO6", "VIRTIO_F_EVENT_IDX", "VIRTIO_F_VERSION_1",
                            "bit 49"));
    EXPECT_THAT(virtio::feature_names(77, bits),
                ElementsAre("bit 12", "VIRTIO_F_EVENT_IDX", "VIRTIO_F_VERSION_1", "bit 49"));
    EXPECT_THAT(virtio::feature_names(1, 0), IsEmpty());
    EXPECT_EQ(virtio::feature_names(1, ~std::uint64_t{0}).size(), 64U);
}

}  // namespace
}  // namespace viaduct::test
