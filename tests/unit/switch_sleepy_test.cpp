// A device whose daemon sleeps, or is gone, holds up nobody but those who want something of it.
#include <array>
#include <atomic>
#include <future>
#include <shared_mutex>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/switch_world.hpp"

namespace viaduct::test {
namespace {

using datapath::GuestDevice;
using datapath::Policy;
using datapath::SwitchOutcome;
using testing::HasSubstr;
using testing::SizeIs;

/// Whoever serves the device, and takes his time.
class Sleeper {
public:
    Sleeper(SwitchWorld& world, std::string operation) : operation_(std::move(operation)) {
        world.before = [this](const std::string& called) {
            if (called != operation_ || asleep_.exchange(true)) return;
            awake_.get_future().wait();
        };
    }
    bool falls_asleep() const {
        return eventually([this] { return asleep_.load(); });
    }
    void wake() { awake_.set_value(); }

private:
    std::string operation_;
    std::atomic<bool> asleep_ = false;
    std::promise<void> awake_;
};

bool vcpus_run(SwitchWorld& world) {
    const std::shared_lock lock(world.vcpus.mutex(), std::try_to_lock);
    return lock.owns_lock();
}

/// What a switch asks of a device that has to be drained, and whether it goes to the slow path.
class SwitchOfASleepyDevice : public testing::TestWithParam<std::tuple<const char*, bool>> {};

constexpr std::array asked_each_time{
    "set_features", "set_queue_size",  "set_ring_addresses", "set_ring_state", "set_kick",
    "set_call",     "set_config_call", "enable_queue",       "set_status",     "status"};
INSTANTIATE_TEST_SUITE_P(Operations, SwitchOfASleepyDevice,
                         testing::Combine(testing::ValuesIn(asked_each_time), testing::Bool()));
// Before the vCPUs stand still, and where they need not.
INSTANTIATE_TEST_SUITE_P(ToTheSlowPath, SwitchOfASleepyDevice,
                         testing::Values(std::tuple("wait_for_answer", true)));
INSTANTIATE_TEST_SUITE_P(ToTheFastPath, SwitchOfASleepyDevice,
                         testing::Values(std::tuple("reset", false)));

TEST_P(SwitchOfASleepyDevice, LetsTheVcpusRunMeanwhile) {
    const auto& [operation, to_slow] = GetParam();
    SwitchWorld world({.suspend = false});
    ASSERT_TRUE(world.run());
    if (!to_slow) {
        ASSERT_TRUE(succeeded(world.set(Policy::slow)));
    }
    Sleeper sleeper(world, operation);
    std::promise<SwitchOutcome> promise;
    world.guest().set_policy(to_slow ? Policy::slow : Policy::fast, {},
                             [&](SwitchOutcome outcome) { promise.set_value(std::move(outcome)); });
    EXPECT_TRUE(sleeper.falls_asleep());
    EXPECT_TRUE(vcpus_run(world));
    world.start_load();
    sleeper.wake();
    const auto outcome = promise.get_future().get();
    EXPECT_TRUE(succeeded(outcome)) << reason(outcome);
    world.finish_load();
}

TEST(SwitchOfADeadDevice, BreaksIt) {
    SwitchWorld world({.suspend = false});
    ASSERT_TRUE(world.run());
    world.before = [](const std::string& called) {
        if (called == "wait_for_answer") throw Error("nobody answers");
    };
    EXPECT_THAT(reason(world.set(Policy::slow)), HasSubstr("nobody answers"));
    EXPECT_EQ(world.guest().state(), GuestDevice::State::broken);
    EXPECT_TRUE(world.guest().needs_reset());
    EXPECT_THAT(world.broken(), SizeIs(1));
}

TEST(ResetOfASleepyDevice, LetsTheOtherVcpusRunMeanwhile) {
    SwitchWorld world({.suspend = false});
    ASSERT_TRUE(world.run());
    Sleeper sleeper(world, "wait_for_answer");
    std::thread vcpu([&] { world.guest().reset(); });
    EXPECT_TRUE(sleeper.falls_asleep());
    EXPECT_TRUE(vcpus_run(world));
    sleeper.wake();
    vcpu.join();
}

}  // namespace
}  // namespace viaduct::test
