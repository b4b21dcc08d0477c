// The switch of a device that keeps buffers until something arrives for them: a network card. It
// must be suspended, and gives back what it has not touched.
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/guest_device_world.hpp"
#include "tests/unit/soft_disk.hpp"

namespace viaduct::test {
namespace {

using datapath::Policy;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using State = datapath::GuestDevice::State;

constexpr unsigned receive = 0;
constexpr unsigned transmit = 1;
constexpr unsigned control = 2;

class Card : public testing::Test {
protected:
    explicit Card(bool suspends = true) {
        world_.options.policy = Policy::automatic;
        if (!suspends) world_.node.answers.backend_features &= 0xf;
        EXPECT_TRUE(world_.run({control}));
    }
    std::string set(Policy policy) {
        std::promise<std::string> done;
        world_.guest().set_policy(policy, {.timeout = std::chrono::seconds(1)},
                                  [&](const datapath::SwitchOutcome& outcome) {
                                      const auto* const reason = std::get_if<std::string>(&outcome);
                                      done.set_value(reason == nullptr ? "" : *reason);
                                  });
        return done.get_future().get();
    }
    State state() { return world_.guest().state(); }
    /// Relays have taken so many chains.
    bool relayed(unsigned queue, std::uint64_t count) {
        const auto& chains = world_.guest().records()[queue].statistics.chains;
        return eventually([&] { return chains.value() >= count; });
    }
    /// The device uses all that is in its ring, and calls.
    void frames_arrive(unsigned count) {
        unsigned used = 0;
        EXPECT_TRUE(eventually([&] { return (used += world_.node.complete(receive)) >= count; }));
        EXPECT_EQ(used, count);
        world_.node.interrupt(receive);
    }
    unsigned come_back(unsigned count) {
        unsigned back = 0;
        EXPECT_TRUE(eventually([&] {
            while (world_.driver(receive).take_used()) ++back;
            return back >= count;
        }));
        return back;
    }

    GuestWorld world_{"vdpa_sim_net"};
};

class CardWithoutSuspend : public Card {
protected:
    CardWithoutSuspend() : Card(false) {}
};

TEST_F(Card, GoesThereAndBackWithItsReceiveBuffersPosted) {
    world_.post_buffers(receive, 8);
    ASSERT_EQ(set(Policy::slow), "");
    EXPECT_EQ(state(), State::slow);
    ASSERT_TRUE(relayed(receive, 8));
    frames_arrive(8);
    EXPECT_EQ(come_back(8), 8U);
    world_.post_buffers(receive, 5);
    ASSERT_TRUE(relayed(receive, 13));
    world_.node.clear_log();
    ASSERT_EQ(set(Policy::fast), "");
    EXPECT_THAT(world_.node.log(), Contains("SET_VRING_BASE 0 8"))
        << "five buffers were given back untouched";
    EXPECT_THAT(world_.node.log(), Not(Contains("vCPUs paused")));
    frames_arrive(5);
    EXPECT_EQ(come_back(5), 5U);
    EXPECT_THAT(world_.broken(), IsEmpty());
}

TEST_F(Card, SendsOnBothPaths) {
    world_.node.serve();
    for (const Policy policy : {Policy::slow, Policy::fast, Policy::slow, Policy::fast}) {
        ASSERT_EQ(set(policy), "");
        for (unsigned frame = 0; frame < 5; ++frame) EXPECT_TRUE(world_.does_io(transmit));
    }
}

TEST_F(Card, ThatHasUsedALaterBufferBeforeAnEarlierOneGoesOnWhereItIs) {
    ASSERT_EQ(set(Policy::slow), "");
    world_.post_buffers(receive, 4);
    ASSERT_TRUE(relayed(receive, 4));
    world_.node.use_last_first(receive);
    ASSERT_EQ(come_back(1), 1U);
    world_.node.clear_log();
    EXPECT_THAT(set(Policy::fast), HasSubstr("does not use its buffers in their order"));
    EXPECT_EQ(state(), State::slow);
    EXPECT_EQ(world_.guest().policy(), Policy::slow);
    EXPECT_THAT(world_.node.log(), Contains("RESUME"));
    EXPECT_THAT(world_.node.log(), Not(Contains("SET_STATUS 0x0")));
    EXPECT_THAT(world_.broken(), IsEmpty());
    world_.node.serve();
    EXPECT_TRUE(world_.does_io(transmit)) << "it goes on";
}

TEST_F(Card, ThatDoesNotSuspendThisTimeGoesOnWhereItIs) {
    for (const Policy there : {Policy::slow, Policy::fast}) {
        const State before = state();
        world_.node.clear_log();
        world_.node.fail_next("SUSPEND", EIO);
        EXPECT_THAT(set(there), Not(IsEmpty()));
        EXPECT_EQ(state(), before);
        EXPECT_THAT(world_.node.log(), Not(Contains("SET_STATUS 0x0")));
        EXPECT_THAT(world_.broken(), IsEmpty());
        ASSERT_EQ(set(there), "");
    }
}

TEST_F(Card, WithBuffersInHandStaysOnTheFastPath) {
    world_.post_buffers(receive, 4);
    world_.node.take_into_hand(receive, 2);
    world_.node.clear_log();
    EXPECT_THAT(set(Policy::slow), HasSubstr("suspended with none in hand"));
    EXPECT_EQ(state(), State::fast);
    EXPECT_THAT(world_.node.log(),
                AllOf(Contains("SUSPEND"), Contains("RESUME"), Not(Contains("vCPUs paused"))));
}

TEST_F(Card, IsKickedAfterASuspensionOnTheSlowPath) {
    ASSERT_EQ(set(Policy::slow), "");
    world_.guest().stop();
    EXPECT_TRUE(world_.node.suspended());
    // A kick that the suspended device forgets.
    world_.node.forget_kicks();
    world_.guest().resume();
    EXPECT_TRUE(world_.node.kicked(receive));
    EXPECT_TRUE(world_.node.kicked(transmit));
}

TEST_F(Card, WritesNothingWhileItsMachineIsStopped) {
    ASSERT_EQ(set(Policy::slow), "");
    world_.post_buffers(receive, 4);
    ASSERT_TRUE(relayed(receive, 4));
    EXPECT_EQ(world_.node.complete(receive), 4U);
    world_.guest().stop();
    const std::uint16_t used = world_.driver(receive).ring().used_idx().load();
    EXPECT_EQ(used, 4) << "it was handed back before the machine stood still";
    world_.node.interrupt(receive);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(world_.driver(receive).ring().used_idx().load(), used);
    world_.guest().resume();
    world_.post_buffers(receive, 1);
    EXPECT_TRUE(relayed(receive, 5));
    frames_arrive(1);
    EXPECT_EQ(come_back(5), 5U);
}

TEST_F(CardWithoutSuspend, IsRefusedBeforeAnythingIsTouched) {
    world_.node.clear_log();
    EXPECT_THAT(set(Policy::slow), HasSubstr("cannot be suspended"));
    EXPECT_THAT(world_.node.log(), ElementsAre("GET_CONFIG 0 24")) << "it is looked at, no more";
    EXPECT_EQ(state(), State::fast);
}

}  // namespace
}  // namespace viaduct::test
