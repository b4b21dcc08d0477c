// GuestDevice: configuration space and configuration changes.
#include "tests/unit/guest_device_world.hpp"

namespace viaduct::test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

using State = datapath::GuestDevice::State;

std::byte read_byte(GuestWorld& world, std::uint32_t offset) {
    std::array<std::byte, 1> byte{};
    world.guest().read_config(offset, byte);
    return byte[0];
}

TEST(GuestDeviceConfig, ConfigReadsAreNeverCached) {
    GuestWorld world;
    for (const auto value : {std::byte{1}, std::byte{2}, std::byte{3}}) {
        world.node.change_config(5, std::array{value});
        EXPECT_EQ(read_byte(world, 5), value);
    }
    ASSERT_TRUE(world.run());
    world.node.change_config(5, std::array{std::byte{4}});
    EXPECT_EQ(read_byte(world, 5), std::byte{4});
}

TEST(GuestDeviceConfig, ConfigWritesAreByteExact) {
    GuestWorld world;
    world.guest().write_config(33, std::array{std::byte{7}});
    world.guest().write_config(34, std::array{std::byte{8}, std::byte{9}});
    EXPECT_THAT(world.node.config_writes(),
                ElementsAre(Pair(33, ElementsAre(std::byte{7})),
                            Pair(34, ElementsAre(std::byte{8}, std::byte{9}))));
}

TEST(GuestDeviceConfig, AWriteDoesNotPutBackWhatTheDeviceChangedMeanwhile) {
    GuestWorld world;
    (void)read_byte(world, 32);
    world.node.change_config(32, std::array{std::byte{5}});
    world.guest().write_config(33, std::array{std::byte{1}});
    EXPECT_EQ(read_byte(world, 32), std::byte{5});
}

TEST(GuestDeviceConfig, AWriteThatTheDeviceRefusesBreaksNothing) {
    GuestWorld world;
    world.guest();
    world.node.fail_next("SET_CONFIG", EIO);
    world.guest().write_config(0, std::array{std::byte{1}});
    EXPECT_EQ(world.guest().state(), State::idle);
    EXPECT_THAT(world.broken(), IsEmpty());
}

TEST(GuestDeviceConfig, AReadThatFailsIsAllOnesAndBreaksTheDevice) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.fail_next("GET_CONFIG", EIO);
    std::array<std::byte, 4> bytes{};
    world.guest().read_config(0, bytes);
    EXPECT_THAT(bytes, Each(std::byte{0xff}));
    EXPECT_EQ(world.guest().state(), State::broken);
}

TEST(GuestDeviceConfig, AChangeReachesTheGuest) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(world.node.change_config(0, std::array{std::byte{9}}));
    EXPECT_TRUE(GuestWorld::arrives(world.guest().config_call()));
    EXPECT_FALSE(world.guest().needs_reset());
    EXPECT_EQ(read_byte(world, 0), std::byte{9});
}

TEST(GuestDeviceConfig, ADeviceThatNeedsAResetTellsItsGuest) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(world.node.demand_reset());
    EXPECT_TRUE(GuestWorld::arrives(world.guest().config_call()));
    EXPECT_TRUE(world.guest().needs_reset());
    EXPECT_THAT(world.broken(), IsEmpty());
    world.reset();
    EXPECT_FALSE(world.guest().needs_reset());
    EXPECT_TRUE(world.run());
}

TEST(GuestDeviceConfig, AChangeOfADeviceThatDoesNotAnswerBreaksIt) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.fail_next("GET_STATUS", EIO);
    EXPECT_TRUE(world.node.change_config(0, {}));
    EXPECT_TRUE(GuestWorld::arrives(world.guest().config_call()));
    EXPECT_TRUE(world.guest().needs_reset());
    EXPECT_EQ(world.guest().state(), State::broken);
}

}  // namespace
}  // namespace viaduct::test
