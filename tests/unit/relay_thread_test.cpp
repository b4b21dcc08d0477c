// The thread around a relay: the orders that it takes, what wakes it, how it polls. The device is
// the test.
#include "vdpa/datapath/relay_thread.hpp"

#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ring_driver.hpp"
#include "tests/unit/soft_disk.hpp"
#include "vdpa/datapath/shadow_memory.hpp"

namespace viaduct::test {
namespace {

using datapath::DeviceFault;
using datapath::RelayThread;
using virtio::RingFault;
using Clock = RelayThread::Clock;
using Order = RelayThread::Order;

struct RelayThreadTerms {
    std::chrono::microseconds longest_poll{0};
    datapath::ThrottleLimits limits{};
};

class RelayThreadWorld {
public:
    static constexpr std::uint16_t size = 16;

    explicit RelayThreadWorld(const RelayThreadTerms& terms)
        : driver(memory, size),
          shadow(std::array{size}, vdpa::IovaRange{Iova{0}, Iova{~std::uint64_t{0}}},
                 memory.space()),
          shadow_queue(shadow.lay_out(0, size)),
          device(shadow_queue.ring, true, virtio::RingIndex(0)) {
        group->set_limits(terms.limits, Clock::now());
        throttle.join(group);
        relay = std::make_unique<RelayThread>(
            datapath::RelaySetup{.memory = memory.space(),
                                 .guest_ring = driver.ring(),
                                 .base = {},
                                 .shadow = shadow_queue,
                                 .event_idx = true,
                                 .indirect = true,
                                 .guest_call = driver.call_event(),
                                 .device_kick = device_kick,
                                 .statistics = statistics,
                                 .throttle = &throttle},
            datapath::RelayThreadSetup{
                .name = "test",
                .guest_kick = driver.kick_event(),
                .device_call = device_call,
                .longest_poll = terms.longest_poll,
                .on_guest_fault = [this](RingFault) { ++guest_faults; },
                .on_device_fault = [this](DeviceFault) { ++device_faults; }});
        device.take_over();
    }

    void post(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            driver.add(std::array{Buffer{memory.allocate(16, 16), 16, true}});
        }
        driver.publish_and_kick();
    }
    /// What the device finds in its ring, taken: it has been kicked for it or looks by itself.
    bool device_gets(unsigned count) {
        return eventually([&] {
            for (std::uint16_t left = device.available().value(); left > 0; --left) {
                heads.push_back(device.head());
                device.take();
            }
            return heads.size() >= count;
        });
    }
    /// The device uses the first `count` of them, and calls when that is wanted.
    void device_uses(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            device.put_used(heads.front(), 1);
            heads.erase(heads.begin());
        }
        if (device.publish_used()) device_call.signal();
    }
    bool rests(std::chrono::milliseconds patience = std::chrono::seconds(10)) const {
        return relay->wait_for_rest(Clock::now() + patience);
    }
    bool rests_at_once() const { return rests(std::chrono::milliseconds(30)); }

    GuestMemory memory;
    RingDriver driver;
    datapath::ShadowMemory shadow;
    datapath::ShadowQueue shadow_queue;
    EventFd device_kick;
    EventFd device_call;
    datapath::QueueStatistics statistics;
    std::shared_ptr<datapath::ThrottleGroup> group = std::make_shared<datapath::ThrottleGroup>("g");
    datapath::ThrottleMember throttle;
    std::atomic<unsigned> guest_faults = 0;
    std::atomic<unsigned> device_faults = 0;
    virtio::SplitRingDeviceView device;
    std::vector<std::uint16_t> heads;
    std::unique_ptr<RelayThread> relay;
};

/// One goes, the others wait for seconds.
constexpr datapath::ThrottleLimits one_goes{.iops = {.average = 1, .maximum = 1}};

TEST(RelayThread, SleepsUntilEitherSideNotifies) {
    RelayThreadWorld world({});
    for (unsigned round = 0; round < 100; ++round) {
        (void)world.device.request_kicks();
        world.post(2);
        ASSERT_TRUE(world.device_gets(2));
        EXPECT_TRUE(world.device_kick.take()) << "round " << round;
        world.device_uses(2);
        ASSERT_TRUE(world.driver.wait_used());
        ASSERT_TRUE(world.driver.wait_used());
    }
    EXPECT_EQ(world.statistics.chains.value(), 200U);
}

TEST(RelayThread, TakesNothingMoreWhilePausedAndRestsWhenNothingIsInFlight) {
    RelayThreadWorld world({});
    world.post(1);
    ASSERT_TRUE(world.device_gets(1));
    world.relay->order(Order::pause);
    EXPECT_FALSE(world.rests_at_once()) << "a request is in flight";
    world.post(1);
    world.driver.kick();
    world.device_uses(1);
    EXPECT_TRUE(world.rests());
    EXPECT_TRUE(world.driver.take_used());
    EXPECT_EQ(world.relay->next_avail(), virtio::RingIndex(1));
    EXPECT_EQ(world.device.available().value(), 0U);
    world.relay->order(Order::run);
    EXPECT_TRUE(world.device_gets(1)) << "there is no second kick for what came meanwhile";
}

TEST(RelayThread, ReportsTheRestOfTheLastOrderOnly) {
    RelayThreadWorld world({});
    for (unsigned round = 0; round < 200; ++round) {
        world.relay->order(Order::pause);
        ASSERT_TRUE(world.rests());
        world.relay->order(Order::run);
        world.post(1);
        ASSERT_TRUE(world.device_gets(1));
        world.relay->order(Order::pause);
        ASSERT_FALSE(world.rests(std::chrono::milliseconds(round % 2)));
        world.device_uses(1);
        ASSERT_TRUE(world.rests());
        ASSERT_TRUE(world.driver.take_used());
        world.relay->order(Order::run);
    }
}

TEST(RelayThread, PausesWithWhatTheThrottleHoldsAndGoesOnWithIt) {
    RelayThreadWorld world({.limits = one_goes});
    world.post(4);
    ASSERT_TRUE(eventually([&] { return world.statistics.throttled_requests.value() != 0; }));
    world.relay->order(Order::pause);
    ASSERT_TRUE(world.device_gets(1));
    const auto gone = static_cast<unsigned>(world.heads.size());
    ASSERT_LT(gone, 4U);
    world.device_uses(gone);
    EXPECT_TRUE(world.rests());
    world.relay->order(Order::run);
    world.group->set_limits({}, Clock::now());
    EXPECT_TRUE(world.device_gets(4 - gone));
}

TEST(RelayThread, LeavesWithAllThatTheThrottleHeld) {
    RelayThreadWorld world({.limits = one_goes});
    world.post(4);
    ASSERT_TRUE(eventually([&] { return world.statistics.throttled_requests.value() != 0; }));
    world.relay->order(Order::leave);
    ASSERT_TRUE(world.device_gets(4));
    world.device_uses(4);
    EXPECT_TRUE(world.rests());
    EXPECT_EQ(world.relay->next_avail(), virtio::RingIndex(4));
}

TEST(RelayThread, DiscardsWhatTheThrottleHeld) {
    RelayThreadWorld world({.limits = one_goes});
    world.post(4);
    ASSERT_TRUE(eventually([&] { return world.statistics.throttled_requests.value() != 0; }));
    world.relay->order(Order::discard);
    ASSERT_TRUE(world.device_gets(1));
    const std::size_t gone = world.heads.size();
    EXPECT_LT(gone, 4U);
    world.device_uses(static_cast<unsigned>(gone));
    EXPECT_TRUE(world.rests());
    EXPECT_EQ(world.device.available().value(), 0U);
}

TEST(RelayThread, HoldsWithWhatASuspendedDeviceHasNotTouched) {
    RelayThreadWorld world({});
    world.post(5);
    ASSERT_TRUE(world.device_gets(5));
    world.device_uses(2);
    world.relay->order(Order::hold);
    EXPECT_TRUE(world.rests());
    EXPECT_TRUE(world.driver.take_used());
    EXPECT_TRUE(world.driver.take_used());
    EXPECT_EQ(world.relay->rewound(), virtio::RingIndex(2));
}

TEST(RelayThread, HoldLosesNothingThatWaitsInTheThrottle) {
    RelayThreadWorld world({.limits = one_goes});
    world.post(4);
    ASSERT_TRUE(eventually([&] { return world.statistics.throttled_requests.value() != 0; }));
    world.relay->order(Order::hold);
    EXPECT_TRUE(world.rests());
    EXPECT_EQ(world.relay->rewound(), virtio::RingIndex(0));
    world.relay->order(Order::run);
    EXPECT_TRUE(world.device_gets(4));
}

TEST(RelayThread, WakesByItselfWhenTheThrottleLetsTheNextGo) {
    RelayThreadWorld world({.limits = {.iops = {.average = 50}}});
    world.post(15);
    const auto start = Clock::now();
    ASSERT_TRUE(world.device_gets(15));
    EXPECT_GT(Clock::now() - start, std::chrono::milliseconds(100)) << "no limit is in force";
}

TEST(RelayThread, SaysOnceThatARingMakesNoSense) {
    RelayThreadWorld world({});
    world.driver.put_available(9999);
    world.driver.publish_and_kick();
    EXPECT_TRUE(eventually([&] { return world.guest_faults != 0; }));
    world.shadow_queue.ring.used_idx().store(99);
    world.device_call.signal();
    EXPECT_TRUE(eventually([&] { return world.device_faults != 0; }));
    for (unsigned i = 0; i < 10; ++i) {
        world.driver.kick();
        world.device_call.signal();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(world.guest_faults, 1U);
    EXPECT_EQ(world.device_faults, 1U);
}

std::chrono::microseconds processor_time() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& time) {
        return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
}

TEST(RelayThread, TakesWithoutAKickWhatComesWhileItPolls) {
    RelayThreadWorld world({.longest_poll = std::chrono::seconds(2)});
    // What comes soon after it fell asleep lets it look for twice as long the next time.
    unsigned unkicked = 0;
    for (unsigned round = 0; round < 50 && unkicked < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        world.driver.add(std::array{Buffer{world.memory.allocate(16, 16), 16, true}});
        if (world.driver.publish()) {
            world.driver.kick();
        } else {
            ++unkicked;
        }
        ASSERT_TRUE(world.device_gets(1));
        world.device_uses(1);
        ASSERT_TRUE(eventually([&] { return world.driver.take_used().has_value(); }));
    }
    EXPECT_GE(unkicked, 5U) << "it never polls";
}

TEST(RelayThread, StopsPollingWhenThereIsNothing) {
    RelayThreadWorld world({.longest_poll = std::chrono::milliseconds(20)});
    for (unsigned round = 0; round < 10; ++round) {
        world.post(1);
        ASSERT_TRUE(world.device_gets(1));
        world.device_uses(1);
        ASSERT_TRUE(eventually([&] { return world.driver.take_used().has_value(); }));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto before = processor_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    EXPECT_LT(processor_time() - before, std::chrono::milliseconds(200));
    EXPECT_TRUE(world.driver.kick_is_wanted());
}

TEST(RelayThread, RestsWhilePollingToo) {
    RelayThreadWorld world({.longest_poll = std::chrono::seconds(30)});
    for (unsigned round = 0; round < 5; ++round) {
        world.post(1);
        ASSERT_TRUE(world.device_gets(1));
        world.device_uses(1);
        ASSERT_TRUE(eventually([&] { return world.driver.take_used().has_value(); }));
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    world.relay->order(Order::pause);
    EXPECT_TRUE(world.rests());
}

}  // namespace
}  // namespace viaduct::test
