// The switch between the data paths, under load and with faults at each of its steps.
#include <sys/resource.h>

#include <optional>

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
using testing::SizeIs;

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

/// Which operation fails, the direction, and whether the device can suspend.
class SwitchWithAFault : public testing::TestWithParam<std::tuple<std::string, bool, bool>> {
protected:
    /// A switch in which the operation fails the `which`th time that it is called. False when it
    /// is not called as often: then the switch went well.
    static bool try_it(unsigned which);
    /// Only a device that forgets its map over a reset is asked to map again.
    static bool keeps_map() {
        const auto& operation = std::get<0>(GetParam());
        return operation != "map" && operation != "unmap";
    }
};

INSTANTIATE_TEST_SUITE_P(Steps, SwitchWithAFault,
                         testing::Combine(testing::Values("reset", "set_features", "set_status",
                                                          "status", "set_queue_size",
                                                          "set_ring_addresses", "set_ring_state",
                                                          "set_kick", "set_call", "set_config_call",
                                                          "enable_queue", "unmap", "map"),
                                          testing::Bool(), testing::Bool()));

bool SwitchWithAFault::try_it(unsigned which) {
    const auto& [operation, to_slow, suspend] = GetParam();
    SwitchWorld world({.queues = 2, .suspend = suspend, .keeps_map = keeps_map()});
    EXPECT_TRUE(world.run());
    if (!to_slow) {
        EXPECT_TRUE(succeeded(world.set(Policy::slow)));
    }
    const auto state = world.guest().state();
    const auto policy = world.guest().policy();
    world.start_load();
    unsigned calls = 0;
    bool failed = false;
    world.before = [&, name = operation, failing = which](const std::string& called) {
        if (called != name || ++calls != failing || failed) return;
        failed = true;
        // Time for a path that is there already to serve: that must not be forgotten.
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        throw Error("{} fails on purpose", name);
    };
    const auto outcome = world.set(to_slow ? Policy::slow : Policy::fast);
    if (failed) {
        EXPECT_THAT(reason(outcome), HasSubstr("on purpose"));
        EXPECT_EQ(world.guest().state(), state);
        EXPECT_EQ(world.guest().policy(), policy);
    } else {
        EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
    }
    world.finish_load();
    EXPECT_THAT(world.broken(), IsEmpty());
    EXPECT_TRUE(succeeded(world.set(to_slow ? Policy::slow : Policy::fast)));
    world.start_load();
    world.finish_load();
    return failed;
}

TEST_P(SwitchWithAFault, LeavesTheGuestOnItsOldPathWhicheverCallFails) {
    unsigned which = 1;
    while (which < 20 && try_it(which)) ++which;
    EXPECT_GT(which, 1U) << "it is not called at all";
    EXPECT_LT(which, 20U) << "it is called again and again";
}

TEST_P(SwitchWithAFault, ThatStaysBreaksTheDeviceUntilItsGuestResetsIt) {
    const auto& [operation, to_slow, suspend] = GetParam();
    SwitchWorld world({.queues = 2, .suspend = suspend, .keeps_map = keeps_map()});
    ASSERT_TRUE(world.run());
    if (!to_slow) {
        ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    }
    world.before = [name = operation](const std::string& called) {
        if (called == name) throw Error("{} fails on purpose", name);
    };
    for (unsigned queue = 0; queue < 2; ++queue) world.post_reads(10, queue);
    EXPECT_THAT(reason(world.set(to_slow ? Policy::slow : Policy::fast)), HasSubstr("on purpose"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::broken);
    EXPECT_TRUE(world.guest().needs_reset());
    EXPECT_TRUE(world.guest().config_call().pending());
    EXPECT_THAT(world.broken(), SizeIs(1));
    world.before = [](const std::string&) {};
    world.reset();
    ASSERT_TRUE(world.run());
    EXPECT_EQ(world.guest().state(), to_slow ? GuestDevice::State::slow : GuestDevice::State::fast);
    world.start_load();
    world.finish_load();
}

TEST(Switch, OfADeviceWhoseConfigurationCannotBeReadLeavesTheGuestOnItsOldPath) {
    SwitchWorld world({.queues = 2});
    ASSERT_TRUE(world.run());
    world.start_load();
    unsigned calls = 0;
    world.before = [&](const std::string& called) {
        if (called == "read_config" && ++calls == 1) throw Error("fails on purpose");
    };
    EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("on purpose"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
    world.finish_load();
    EXPECT_THAT(world.broken(), IsEmpty());
}

TEST(Switch, OfADeviceWhoseConfigurationCannotBeReadAfterwardsIsMade) {
    SwitchWorld world({.queues = 2});
    ASSERT_TRUE(world.run());
    world.start_load();
    unsigned calls = 0;
    world.before = [&](const std::string& called) {
        if (called == "read_config" && ++calls == 2) throw Error("fails on purpose");
    };
    EXPECT_TRUE(succeeded(world.set(Policy::slow)));
    EXPECT_TRUE(eventually([&] { return world.guest().config_call().pending(); }));
    // By the lock of this, the thread that read it again has done with what the test had said.
    EXPECT_TRUE(world.guest().disk());
    world.finish_load();
    EXPECT_THAT(world.broken(), IsEmpty());
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

TEST(Switch, WithoutSuspendDrainsWhatFailsToSuspend) {
    for (const char* const operation : {"suspend", "ring_state"}) {
        SwitchWorld world({});
        ASSERT_TRUE(world.run());
        world.start_load();
        world.before = [operation](const std::string& called) {
            if (called == operation) throw Error("it fails on purpose");
        };
        const auto outcome = world.set(Policy::slow);
        EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
        world.finish_load();
    }
}

/// How often FEATURES_OK is refused, the direction, and whether the device can suspend.
class SwitchWithFeaturesRefused : public testing::TestWithParam<std::tuple<unsigned, bool, bool>> {
};

INSTANTIATE_TEST_SUITE_P(Directions, SwitchWithFeaturesRefused,
                         testing::Combine(testing::Values(1U, 2U), testing::Bool(),
                                          testing::Bool()));

TEST_P(SwitchWithFeaturesRefused, LeavesTheGuestWhereItWasOrBreaks) {
    const auto& [refusals, to_slow, suspend] = GetParam();
    SwitchWorld world({.suspend = suspend});
    ASSERT_TRUE(world.run());
    if (!to_slow) {
        ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    }
    const auto state = world.guest().state();
    if (refusals == 1) world.start_load();
    world.refusals = refusals;
    const auto outcome = world.set(to_slow ? Policy::slow : Policy::fast);
    EXPECT_THAT(reason(outcome), HasSubstr("refuses the features"));
    EXPECT_EQ(world.refusals, 0U);
    if (refusals == 2) {
        // The old path could not be built again either.
        EXPECT_EQ(world.guest().state(), GuestDevice::State::broken);
        world.reset();
        ASSERT_TRUE(world.run());
        world.start_load();
    } else {
        EXPECT_EQ(world.guest().state(), state);
        EXPECT_THAT(world.broken(), IsEmpty());
    }
    world.finish_load();
}

/// This process may open no file, as when it has too many.
class NoMoreFiles {
public:
    NoMoreFiles() { set(1); }
    NoMoreFiles(const NoMoreFiles&) = delete;
    NoMoreFiles& operator=(const NoMoreFiles&) = delete;
    ~NoMoreFiles() { set(before_); }

private:
    void set(rlim_t count) {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        before_ = limit.rlim_cur;
        limit.rlim_cur = count;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }

    rlim_t before_ = 0;
};

TEST(Switch, ToRelaysThatCannotBeStartedLeavesTheGuestOnTheFastPath) {
    for (const bool suspend : {true, false}) {
        SwitchWorld world({.queues = 2, .suspend = suspend});
        ASSERT_TRUE(world.run());
        world.start_load();
        std::optional<NoMoreFiles> limit;
        unsigned statuses = 0;
        world.before = [&](const std::string& called) {
            // DRIVER_OK: what comes after it is the relays' own; the reset begins the way back.
            if (called == "set_status" && ++statuses == 4) limit.emplace();
            if (called == "reset") limit.reset();
        };
        EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("could not be built"));
        EXPECT_FALSE(limit) << "they were started";
        EXPECT_EQ(world.guest().state(), GuestDevice::State::fast);
        EXPECT_TRUE(succeeded(world.set(Policy::slow)));
        world.finish_load();
        EXPECT_THAT(world.broken(), IsEmpty());
    }
}

/// A guest that scribbles on its own used ring, or on it alone looks idle.
class SwitchWithAScribbledRing : public testing::TestWithParam<std::tuple<bool, bool>> {};

INSTANTIATE_TEST_SUITE_P(Directions, SwitchWithAScribbledRing,
                         testing::Combine(testing::Bool(), testing::Bool()));

TEST_P(SwitchWithAScribbledRing, GivesUpOrBreaksAndTheNextResetMendsIt) {
    const auto& [to_slow, suspend] = GetParam();
    const Policy there = to_slow ? Policy::slow : Policy::fast;
    SwitchWorld world({.suspend = suspend, .drain_timeout = std::chrono::milliseconds(50)});
    ASSERT_TRUE(world.run());
    if (!to_slow) {
        ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    }
    const auto state = world.guest().state();
    world.driver().ring().used_idx().store(30'000);
    const datapath::SwitchOptions patience{.timeout = std::chrono::milliseconds(50)};
    const auto outcome = world.set(there, patience);
    // The relay knows by itself what is in flight; who looks at the guest's ring waits in vain.
    EXPECT_EQ(succeeded(outcome), !to_slow) << reason(outcome);
    if (to_slow) {
        EXPECT_THAT(reason(outcome), HasSubstr("still in flight after 50 ms"));
        EXPECT_EQ(world.guest().state(), state);
        auto and_break = patience;
        and_break.break_on_timeout = true;
        EXPECT_FALSE(succeeded(world.set(there, and_break)));
        EXPECT_EQ(world.guest().state(), GuestDevice::State::broken);
    }
    world.reset();
    ASSERT_TRUE(world.run());
    world.start_load();
    world.finish_load();
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
