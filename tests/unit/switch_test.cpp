// The switch between the data paths, under load and with faults at each of its steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/repeated.hpp"
#include "tests/unit/soft_held_image.hpp"
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
        for (unsigned nap = 0; nap < 1000 && world.completions() < before + round % 7; ++nap) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
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

/// Which operation fails, and which time it is called in the switch.
class SwitchWithAFault
    : public testing::TestWithParam<std::tuple<std::string, bool, bool, unsigned>> {};

INSTANTIATE_TEST_SUITE_P(
    Steps, SwitchWithAFault,
    testing::Combine(testing::Values("reset", "set_features", "set_status", "status",
                                     "set_queue_size", "set_ring_addresses", "set_ring_state",
                                     "set_kick", "set_call", "set_config_call", "enable_queue"),
                     testing::Bool(), testing::Bool(), testing::Values(1U, 2U)));

TEST_P(SwitchWithAFault, LeavesTheGuestOnItsOldPath) {
    const auto& [operation, to_slow, suspend, which] = GetParam();
    SwitchWorld world({.queues = 2, .suspend = suspend});
    ASSERT_TRUE(world.run());
    if (!to_slow) {
        ASSERT_TRUE(succeeded(world.set(Policy::slow)));
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
        // It is called once only: the switch went well.
        EXPECT_EQ(which, 2U);
        EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
    }
    world.finish_load();
    EXPECT_THAT(world.broken(), IsEmpty());
    EXPECT_TRUE(succeeded(world.set(to_slow ? Policy::slow : Policy::fast)));
    world.start_load();
    world.finish_load();
}

TEST_P(SwitchWithAFault, ThatStaysBreaksTheDeviceUntilItsGuestResetsIt) {
    const auto& [operation, to_slow, suspend, which] = GetParam();
    SwitchWorld world({.queues = 2, .suspend = suspend});
    ASSERT_TRUE(world.run());
    if (!to_slow) {
        ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    }
    world.before = [name = operation](const std::string& called) {
        if (called == name) throw Error("{} fails on purpose", name);
    };
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

TEST(Switch, WithoutSuspendDrainsWhatFailsToSuspend) {
    SwitchWorld world({});
    ASSERT_TRUE(world.run());
    world.start_load();
    world.before = [](const std::string& called) {
        if (called == "suspend") throw Error("suspend fails on purpose");
    };
    const auto outcome = world.set(Policy::slow);
    EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
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
    go.set_value();
    EXPECT_TRUE(succeeded(promise.get_future().get()));
}

TEST(Switch, AVcpuStoppedBetweenItsAvailIdxStoreAndItsNotifyDoesNotMakeADrainTimeOut) {
    SwitchWorld world({.suspend = false});
    ASSERT_TRUE(world.run());
    const Iova header = world.memory.allocate(16, 16);
    world.memory.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0});
    world.driver().add(std::array{Buffer{header, 16, false},
                                  Buffer{world.memory.allocate(sector, 512), sector, true},
                                  Buffer{world.memory.allocate(1, 1), 1, true}});
    world.driver().publish();
    const auto outcome = world.set(Policy::slow, {.timeout = std::chrono::seconds(10)});
    EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
    EXPECT_TRUE(world.driver().take_used());
}

/// A device that sits on one request, with SUSPEND or without.
class SwitchWithARequestHeld : public testing::TestWithParam<std::tuple<bool, bool>> {
protected:
    SwitchWithARequestHeld()
        : world_({.suspend = std::get<1>(GetParam()),
                  .drain_timeout = std::chrono::milliseconds(50),
                  .make_device = [this] {
                      return std::make_unique<soft::SoftDevice>(std::make_unique<HeldImage>(gate_),
                                                                soft::SoftDeviceOptions{});
                  }}) {
        EXPECT_TRUE(world_.run());
        if (!to_slow()) {
            EXPECT_TRUE(succeeded(world_.set(Policy::slow)));
        }
        post_read();
        if (!to_slow()) wait_until_taken();
        // The device has it, as far as can be seen from here.
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ~SwitchWithARequestHeld() override {
        if (!released_) release();
    }
    static bool to_slow() { return std::get<0>(GetParam()); }
    void post_read() {
        const Iova header = world_.memory.allocate(16, 16);
        world_.memory.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0});
        world_.driver().add(std::array{Buffer{header, 16, false},
                                       Buffer{world_.memory.allocate(sector, 512), sector, true},
                                       Buffer{world_.memory.allocate(1, 1), 1, true}});
        world_.driver().publish();
        world_.guest().guest_kick(0).signal();
    }
    void wait_until_taken() {
        const auto& chains = world_.guest().records()[0].statistics.chains;
        EXPECT_TRUE(eventually([&] { return chains.value() != 0; }));
    }
    SwitchOutcome try_to_switch(bool break_on_timeout) {
        return world_.set(
            to_slow() ? Policy::slow : Policy::fast,
            {.timeout = std::chrono::milliseconds(50), .break_on_timeout = break_on_timeout});
    }
    void release() {
        released_ = true;
        gate_.release(Bytes(sector, std::byte{7}));
    }
    bool request_comes_back() {
        return eventually([this] { return world_.driver().take_used().has_value(); });
    }

    HeldImage::Gate gate_;
    SwitchWorld world_;
    bool released_ = false;
};

INSTANTIATE_TEST_SUITE_P(Directions, SwitchWithARequestHeld,
                         testing::Combine(testing::Bool(), testing::Bool()));

TEST_P(SwitchWithARequestHeld, GivesUpAfterItsTimeAndChangesNothing) {
    EXPECT_THAT(reason(try_to_switch(false)), HasSubstr("still in flight after 50 ms"));
    EXPECT_EQ(world_.guest().state(),
              to_slow() ? GuestDevice::State::fast : GuestDevice::State::slow);
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_TRUE(succeeded(try_to_switch(false)));
}

TEST_P(SwitchWithARequestHeld, OfAStoppedMachineGivesUpToo) {
    world_.guest().stop();
    EXPECT_THAT(reason(try_to_switch(false)), HasSubstr("still in flight after 50 ms"));
    world_.guest().resume();
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_TRUE(succeeded(try_to_switch(false)));
}

TEST_P(SwitchWithARequestHeld, StopsAfterItsTimeAndGoesOnWithIt) {
    for (unsigned round = 0; round < 2; ++round) {
        world_.in_time([&] { world_.guest().stop(); });
        world_.guest().resume();
    }
    release();
    EXPECT_TRUE(request_comes_back());
    EXPECT_THAT(world_.broken(), IsEmpty());
}

TEST_P(SwitchWithARequestHeld, IsResetAfterItsTime) {
    world_.in_time([&] { world_.guest().reset(); });
    EXPECT_EQ(world_.guest().state(), GuestDevice::State::idle);
    EXPECT_THAT(world_.broken(), IsEmpty());
}

TEST_P(SwitchWithARequestHeld, BreaksTheDeviceWhereThatWasAskedFor) {
    EXPECT_THAT(reason(try_to_switch(true)), HasSubstr("still in flight after 50 ms"));
    EXPECT_EQ(world_.guest().state(), GuestDevice::State::broken);
    EXPECT_THAT(world_.broken(), SizeIs(1));
    EXPECT_EQ(world_.guest().policy(), to_slow() ? Policy::slow : Policy::fast);
    world_.reset();
    ASSERT_TRUE(world_.run());
    EXPECT_EQ(world_.guest().state(),
              to_slow() ? GuestDevice::State::slow : GuestDevice::State::fast)
        << "its guest has escaped by a reset";
}

TEST_P(SwitchWithARequestHeld, MayComeBackWhileTheBrokenDeviceIsClosed) {
    world_.before = [this](const std::string& called) {
        if (called != "close" || released_) return;
        release();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
    EXPECT_THAT(reason(try_to_switch(true)), HasSubstr("still in flight after 50 ms"));
    EXPECT_TRUE(released_);
    world_.before = [](const std::string&) {};
}

TEST_P(SwitchWithARequestHeld, TakesLimitsWhileItIsBroken) {
    EXPECT_THAT(reason(try_to_switch(true)), HasSubstr("still in flight after 50 ms"));
    ASSERT_TRUE(succeeded(world_.set(Policy::automatic)));
    const auto outcome = world_.throttle({.iops = {.average = 1, .maximum = 1}});
    ASSERT_TRUE(succeeded(outcome)) << reason(outcome);
    world_.reset();
    ASSERT_TRUE(world_.run());
    EXPECT_EQ(world_.guest().state(), GuestDevice::State::slow);
    for (unsigned i = 0; i < 10; ++i) post_read();
    const auto& waiting = world_.guest().records()[0].statistics.throttled_requests;
    EXPECT_TRUE(eventually([&] { return waiting.value() != 0; })) << "no limit is in force";
}

}  // namespace
}  // namespace viaduct::test
