// The switch between the data paths with a fault at each of its steps: of the device, the host, the
// guest.
#include <sys/resource.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/eventually.hpp"
#include "tests/unit/switch_world.hpp"

namespace viaduct::test {
namespace {

using datapath::GuestDevice;
using datapath::Policy;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

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

}  // namespace
}  // namespace viaduct::test
