// The switch between the data paths: under load, at rest, and where it is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/repeated.hpp"
#include "tests/unit/switch_world.hpp"

namespace viaduct::test {
namespace {

using datapath::GuestDevice;
using datapath::PathKind;
using datapath::Policy;
using datapath::SwitchOutcome;
using datapath::SwitchReport;
using testing::HasSubstr;
using testing::IsEmpty;

class SwitchUnderLoad : public testing::TestWithParam<SwitchTerms> {};

INSTANTIATE_TEST_SUITE_P(
    Terms, SwitchUnderLoad,
    testing::Values(SwitchTerms{.queues = 1, .depth = 1},
                    SwitchTerms{.queues = 1, .depth = 1, .suspend = false},
                    SwitchTerms{.queues = 2, .depth = 16},
                    SwitchTerms{.queues = 2, .depth = 16, .suspend = false},
                    SwitchTerms{.queues = 4, .depth = 8, .event_idx = false},
                    SwitchTerms{.queues = 4, .depth = 8, .suspend = false, .indirect = false},
                    SwitchTerms{.queues = 1, .depth = 8, .event_idx = false, .indirect = false}));

TEST_P(SwitchUnderLoad, CompletesEveryRequestExactlyOnce) {
    SwitchWorld world(GetParam());
    ASSERT_TRUE(world.run());
    world.start_load();
    const unsigned rounds = repeated(100);
    for (unsigned round = 0; round < rounds; ++round) {
        const auto outcome = world.set(round % 2 == 0 ? Policy::slow : Policy::fast);
        ASSERT_TRUE(succeeded(outcome)) << reason(outcome);
        const auto before = world.completions();
        // Each path serves, for a while that no two turns share.
        ASSERT_TRUE(eventually([&] { return world.completions() >= before + round % 7; }))
            << "nothing comes back on the " << (round % 2 == 0 ? "slow" : "fast") << " path";
    }
    world.finish_load();
    EXPECT_EQ(world.switches, rounds);
    EXPECT_THAT(world.broken(), IsEmpty());
}

TEST(Switch, ReportsWhereItWentAndWhatWasUnderWay) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    const auto there = std::get<SwitchReport>(world.set(Policy::slow));
    EXPECT_EQ(there.from, PathKind::fast);
    EXPECT_EQ(there.to, PathKind::slow);
    EXPECT_EQ(there.in_flight, 0U);
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
    const auto back = std::get<SwitchReport>(world.set(Policy::automatic));
    EXPECT_EQ(back.to, PathKind::fast);
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
}

TEST(Switch, ToThePathThatItIsOnDoesNothing) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(succeeded(world.set(Policy::fast)));
    EXPECT_EQ(world.switches, 0U);
}

TEST(Switch, BeforeTheGuestStartsChoosesWhereItStarts) {
    SwitchWorld world({});
    EXPECT_TRUE(succeeded(world.set(Policy::slow)));
    ASSERT_TRUE(world.run());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
    world.start_load();
    world.finish_load();
}

TEST(Switch, SurvivesResetsOnEitherPath) {
    SwitchWorld world({});
    for (const Policy policy : {Policy::slow, Policy::fast, Policy::slow}) {
        ASSERT_TRUE(succeeded(world.set(policy)));
        for (unsigned round = 0; round < 3; ++round) {
            ASSERT_TRUE(world.run());
            world.start_load();
            world.finish_load();
            world.reset();
        }
    }
}

TEST(Switch, OfAStoppedMachineLeavesItStopped) {
    for (const bool suspend : {true, false}) {
        SwitchWorld world({.suspend = suspend});
        ASSERT_TRUE(world.run());
        for (const Policy policy : {Policy::slow, Policy::fast}) {
            world.guest().stop();
            EXPECT_TRUE(succeeded(world.set(policy)));
            world.guest().resume();
            world.start_load();
            world.finish_load();
        }
    }
}

TEST(Switch, OfADeviceThatIsFastOnlyIsRefusedWithTheReason) {
    SwitchWorld world({.policy = Policy::fast_only});
    ASSERT_TRUE(world.run());
    EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("datapath=fast-only"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
}

TEST(Switch, OfADeviceThatNeedsAResetIsRefused) {
    SwitchWorld world({});
    ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    ASSERT_TRUE(world.run());
    world.driver().put_available(9999);
    world.driver().publish();
    world.guest().guest_kick(0).signal();
    EXPECT_TRUE(eventually([&] { return world.guest().needs_reset(); }));
    EXPECT_THAT(reason(world.set(Policy::fast)), HasSubstr("needs a reset"));
    world.reset();
    EXPECT_FALSE(world.guest().needs_reset());
    ASSERT_TRUE(world.run());
    world.start_load();
    world.finish_load();
}

TEST(Switch, OfADeviceThatNeedsAResetBreaksItWhereThatWasAskedForAndTheNextStartIsWhereItShould) {
    SwitchWorld world({.queues = 2});
    ASSERT_TRUE(world.run());
    // One queue is spoilt; the other works on, where nobody could limit it.
    world.driver().put_available(9999);
    world.driver().publish();
    world.guest().guest_kick(0).signal();
    EXPECT_TRUE(eventually([&] { return world.guest().needs_reset(); }));
    EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("needs a reset"));
    EXPECT_EQ(world.guest().policy(), Policy::automatic);
    EXPECT_THAT(reason(world.set(Policy::slow, {.break_on_timeout = true})),
                HasSubstr("needs a reset"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::broken);
    world.reset();
    ASSERT_TRUE(world.run());
    EXPECT_EQ(world.guest().state(), GuestDevice::State::slow);
}

TEST(Switch, TellsTheGuestWhatChangedWhileNobodyDroveTheDevice) {
    const TemporaryImage image("/dev/shm");
    soft::SoftDevice* disk = nullptr;
    SwitchWorld world({.make_device = [&] {
        soft::SoftDeviceOptions options;
        options.image = image.path();
        auto device = std::make_unique<soft::SoftDevice>(options);
        disk = device.get();
        return device;
    }});
    ASSERT_TRUE(world.run());
    EXPECT_TRUE(succeeded(world.set(Policy::slow)));
    EXPECT_FALSE(world.guest().config_call().pending()) << "nothing has changed";
    world.before = [&](const std::string& called) {
        if (called != "set_features") return;
        std::filesystem::resize_file(image.path(), std::size_t{16} << 20);
        disk->measure_again();
    };
    EXPECT_TRUE(succeeded(world.set(Policy::fast)));
    EXPECT_TRUE(eventually([&] { return world.guest().config_call().pending(); }));
    EXPECT_EQ(world.guest().disk()->size, std::size_t{16} << 20);
}

TEST(Switch, WithNoTimeAtAllIsMadeByADiskAtRest) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    constexpr datapath::SwitchOptions at_once{.timeout = std::chrono::milliseconds(0)};
    for (const Policy policy : {Policy::slow, Policy::fast, Policy::slow}) {
        const auto outcome = world.set(policy, at_once);
        EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
    }
}

TEST(Switch, OfADeviceThatCannotTakeOverARingIsRefusedWithTheReason) {
    SwitchWorld world({.ring_state = false});
    EXPECT_FALSE(world.guest().switchable());
    ASSERT_TRUE(world.run());
    EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("begin where another has left it"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    world.start_load();
    world.finish_load();
}

TEST(Switch, ADeviceThatRefusesItsFeaturesThisTimeStaysWhereItWas) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    unsigned resets = 0;
    world.before = [&](const std::string& called) {
        if (called == "reset") ++resets;
        if (called == "set_features" && resets == 1) throw Error("features refused on purpose");
    };
    EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("on purpose"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
}

TEST(Switch, AnOperationThatTakesLongHoldsUpNobodyElse) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    std::promise<void> go;
    auto gone = go.get_future().share();
    world.before = [&](const std::string& called) {
        if (called == "reset") gone.wait();
    };
    std::promise<SwitchOutcome> promise;
    world.guest().set_policy(Policy::slow, {},
                             [&](SwitchOutcome outcome) { promise.set_value(std::move(outcome)); });
    // What a report on the device asks for.
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    EXPECT_FALSE(world.guest().needs_reset());
    EXPECT_EQ(world.guest().records().size(), 1U);
    // A configuration access waits for it; other devices do not.
    auto config = std::async(std::launch::async, [&] {
        std::array<std::byte, 8> capacity{};
        world.guest().read_config(0, capacity);
        return capacity;
    });
    SwitchWorld other({});
    ASSERT_TRUE(other.run());
    other.start_load();
    EXPECT_TRUE(succeeded(other.set(Policy::slow)));
    other.finish_load();
    EXPECT_EQ(config.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
    go.set_value();
    EXPECT_TRUE(succeeded(promise.get_future().get()));
    EXPECT_NE(config.get(), (std::array<std::byte, 8>{}));
}

TEST(Switch, TheGuestsKicksStillArriveAfterTheOtherSideLeftItsSuppressionBehind) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    const auto& ring = world.driver().ring();
    bool asked_for_kicks = false;
    world.before = [&](const std::string& called) {
        // The relay has gone.
        if (called == "reset") {
            ring.used_flags().store(virtio::ring_flag::no_notify);
            ring.avail_event().store(30'000);
        }
        // The device has not come: it may look at neither, as the simulator.
        if (called == "set_queue_size") {
            asked_for_kicks = ring.used_flags().load() == 0 && ring.avail_event().load() == 0;
        }
    };
    EXPECT_TRUE(succeeded(world.set(Policy::fast)));
    EXPECT_TRUE(asked_for_kicks);
}

}  // namespace
}  // namespace viaduct::test
