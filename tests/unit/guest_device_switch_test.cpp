// The switch as the device behind sees it.
#include <linux/virtio_blk.h>

#include <algorithm>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/guest_device_world.hpp"

namespace viaduct::test {
namespace {

using datapath::Policy;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string set(GuestWorld& world, Policy policy) {
    std::promise<std::string> done;
    world.guest().set_policy(policy, {}, [&](const datapath::SwitchOutcome& outcome) {
        const auto* const reason = std::get_if<std::string>(&outcome);
        done.set_value(reason == nullptr ? "" : *reason);
    });
    return done.get_future().get();
}

TEST(GuestDeviceSwitch, ANetworkCardTakesNoLimits) {
    GuestWorld world("vdpa_sim_net");
    world.options.policy = Policy::automatic;
    ASSERT_TRUE(world.run({2}));
    EXPECT_EQ(world.guest().throttle_group(), nullptr);
    const auto group = std::make_shared<datapath::ThrottleGroup>("g");
    std::promise<datapath::SwitchOutcome> done;
    world.guest().set_throttle(group, {.iops = {.average = 1}},
                               [&](auto outcome) { done.set_value(std::move(outcome)); });
    const auto outcome = done.get_future().get();
    ASSERT_TRUE(std::holds_alternative<std::string>(outcome));
    EXPECT_THAT(std::get<std::string>(outcome), HasSubstr("I/O limits are for disks"));
    EXPECT_FALSE(group->limits().any());
    EXPECT_EQ(world.guest().state(), datapath::GuestDevice::State::fast);
}

TEST(GuestDeviceSwitch, NotifiesBothSidesOfEveryQueueOnceItIsThere) {
    GuestWorld world("vduse_block_two_queues");
    ASSERT_TRUE(world.run());
    for (const Policy policy : {Policy::slow, Policy::fast}) {
        for (unsigned queue = 0; queue < 2; ++queue) {
            (void)world.guest().guest_kick(queue).take();
            (void)world.guest().guest_call(queue).take();
        }
        EXPECT_EQ(set(world, policy), "");
        for (unsigned queue = 0; queue < 2; ++queue) {
            EXPECT_TRUE(world.guest().guest_kick(queue).pending()) << queue;
            EXPECT_TRUE(world.guest().guest_call(queue).pending()) << queue;
        }
    }
}

/// A disk whose driver may choose the cache mode, which a reset brings back to write-back.
class DiskWithACacheMode : public testing::Test {
protected:
    static constexpr std::uint32_t wce = offsetof(virtio_blk_config, wce);
    using Writes = FakeVhostNode::ConfigWrites;

    DiskWithACacheMode() {
        world_.node.answers.features |= virtio::feature::bit(VIRTIO_BLK_F_CONFIG_WCE);
        world_.node.answers.config.at(wce) = std::byte{1};
        EXPECT_TRUE(world_.run());
    }
    void choose(std::byte mode) { world_.guest().write_config(wce, std::array{mode}); }
    std::byte mode() {
        std::array<std::byte, 1> byte{};
        world_.guest().read_config(wce, byte);
        return byte[0];
    }
    /// Where in the log; its end when it is not there.
    std::ptrdiff_t place_of(const std::string& call) const {
        const auto log = world_.node.log();
        return std::find_if(log.begin(), log.end(),
                            [&](const auto& line) { return line.starts_with(call); }) -
               log.begin();
    }

    GuestWorld world_;
};

TEST_F(DiskWithACacheMode, HasTheOneThatItsGuestChoseOnEveryPath) {
    choose(std::byte{0});
    Writes expected{{wce, {std::byte{0}}}};
    for (const Policy policy : {Policy::slow, Policy::fast, Policy::slow}) {
        world_.node.clear_log();
        ASSERT_EQ(set(world_, policy), "");
        EXPECT_EQ(mode(), std::byte{0});
        expected.push_back(expected.front());
        EXPECT_EQ(world_.node.config_writes(), expected);
        EXPECT_LT(place_of("SET_CONFIG 32"), place_of("SET_STATUS 0xf"))
            << "requests would be served under another mode";
    }
}

TEST_F(DiskWithACacheMode, IsToldNothingWhereTheResetChangesNothing) {
    ASSERT_EQ(set(world_, Policy::slow), "");
    choose(std::byte{1});
    ASSERT_EQ(set(world_, Policy::fast), "");
    EXPECT_EQ(world_.node.config_writes(), (Writes{{wce, {std::byte{1}}}})) << "the guest's own";
}

TEST_F(DiskWithACacheMode, WhoseConfigurationCannotBeReadStaysWhereItIs) {
    choose(std::byte{0});
    world_.node.clear_log();
    world_.node.fail_next("GET_CONFIG", EIO);
    EXPECT_THAT(set(world_, Policy::slow), HasSubstr("VHOST_VDPA_GET_CONFIG"));
    EXPECT_EQ(world_.guest().state(), datapath::GuestDevice::State::fast);
    EXPECT_THAT(world_.node.log_of("SET_STATUS"), IsEmpty());
    EXPECT_THAT(world_.broken(), IsEmpty());
    EXPECT_EQ(mode(), std::byte{0});
}

TEST_F(DiskWithACacheMode, ThatCannotBeWrittenAgainStaysOnTheOldPathWithIt) {
    choose(std::byte{0});
    world_.node.fail_next("SET_CONFIG", EIO);
    EXPECT_THAT(set(world_, Policy::slow), HasSubstr("VHOST_VDPA_SET_CONFIG"));
    EXPECT_EQ(world_.guest().state(), datapath::GuestDevice::State::fast);
    EXPECT_EQ(mode(), std::byte{0});
    EXPECT_THAT(world_.broken(), IsEmpty());
}

TEST(GuestDeviceSwitch, LooksAtNoCacheModeThatWasNotNegotiated) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.clear_log();
    ASSERT_EQ(set(world, Policy::slow), "");
    EXPECT_THAT(world.node.log_of("GET_CONFIG 32"), IsEmpty());
    EXPECT_THAT(world.node.log_of("SET_CONFIG "), IsEmpty());
}

TEST(GuestDeviceSwitch, SetsTheCallsOfThePathThatItGoesTo) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    ASSERT_EQ(set(world, Policy::slow), "");
    ASSERT_EQ(set(world, Policy::fast), "");
    world.node.serve();
    EXPECT_TRUE(world.does_io());
}

TEST(GuestDeviceSwitch, GivesTheDeviceShadowRingsThatBeginAnewAndTheGuestsWhereTheyStood) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.serve();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.does_io());
    world.node.clear_log();
    ASSERT_EQ(set(world, Policy::slow), "");
    EXPECT_THAT(world.node.log(), Contains(StartsWith("SET_VRING_ADDR 0 0x7fff")));
    EXPECT_THAT(world.node.log(), Contains("SET_VRING_BASE 0 0"));
    world.node.clear_log();
    ASSERT_EQ(set(world, Policy::fast), "");
    EXPECT_THAT(world.node.log(), Contains("SET_VRING_BASE 0 3"));
}

TEST(GuestDeviceSwitch, AVcpuStoppedBetweenItsAvailIdxStoreAndItsNotifyDoesNotMakeADrainTimeOut) {
    GuestWorld world;
    ASSERT_TRUE(world.run());
    world.node.serve();
    ASSERT_TRUE(world.does_io());
    world.post();
    EXPECT_EQ(set(world, Policy::slow), "");
    EXPECT_TRUE(world.driver().take_used());
}

TEST(GuestDeviceSwitch, OfADeviceThatCannotTakeARingOverIsRefusedAtOnce) {
    GuestWorld world;
    world.node.fail_next("SET_VRING_BASE", EOPNOTSUPP);
    ASSERT_TRUE(world.run());
    EXPECT_FALSE(world.guest().switchable());
    EXPECT_EQ(world.guest().policy(), Policy::fast_only);
    EXPECT_THAT(set(world, Policy::slow), HasSubstr("VHOST_SET_VRING_BASE"));
    GuestWorld wished;
    wished.node.fail_next("SET_VRING_BASE", EOPNOTSUPP);
    wished.options.policy = Policy::automatic;
    EXPECT_THROW(wished.guest(), Error);
}

}  // namespace
}  // namespace viaduct::test
