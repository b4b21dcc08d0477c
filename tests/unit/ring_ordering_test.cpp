// A driver's and a device's view of one ring on two threads: a notification that is lost for want
// of order shows.
//
// What shows is the weakening of a seq_cst store: x86 lets a later load overtake it. It never lets
// a store overtake a load, so that a seq_cst load is a plain one there, and no program tells them
// apart; the mutants of the load side make it by hand what another processor may make of it, the
// load before the store.
#include <poll.h>
#include <sched.h>

#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "devices/virtio/split_ring_device_view.hpp"
#include "devices/virtio/split_ring_driver_view.hpp"
#include "tests/support/repeated.hpp"
#include "tests/unit/ring_driver.hpp"

namespace viaduct::test {
namespace {

using virtio::RingIndex;
using virtio::SplitRingDeviceView;
using virtio::SplitRingDriverView;

constexpr unsigned collisions = 100'000;

/// Sleeps until `event`; false when it does not come.
bool sleep_until(const EventFd& event) {
    pollfd poll{event.fd(), POLLIN, 0};
    if (::poll(&poll, 1, 15'000) != 1) return false;
    (void)event.take();
    return true;
}

/// A while that differs each time, so that one side goes to sleep just when the other has something
/// for it: there a lost order shows.
template <typename Found>
bool look_for_a_while(std::minstd_rand& random, Found&& found) {
    for (auto looks = random() % 200; looks > 0; --looks) {
        if (found()) return true;
    }
    return false;
}

/// Where two threads wait for one another, without a system call: what they do next collides.
class MeetingPoint {
public:
    void meet() noexcept {
        const unsigned turn = turn_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == 1) {
            arrived_.store(0, std::memory_order_relaxed);
            turn_.store(turn + 1, std::memory_order_release);
            return;
        }
        for (unsigned looks = 1; turn_.load(std::memory_order_acquire) == turn; ++looks) {
            if (looks % 1'000 == 0) std::this_thread::yield();
        }
    }

private:
    alignas(64) std::atomic<unsigned> arrived_ = 0;
    alignas(64) std::atomic<unsigned> turn_ = 0;
};

/// Stores that find nothing in the cache: those that follow stand in line behind them, while loads
/// go past. What has no order shows a hundred times as often.
class StoresThatWait {
public:
    void operator()(std::minstd_rand& random) {
        for (auto count = random() % 8; count > 0; --count) {
            words_[random() % words_.size()].store(1, std::memory_order_relaxed);
        }
    }

private:
    std::vector<std::atomic<unsigned>> words_ = std::vector<std::atomic<unsigned>>(4 << 20);
};

/// Keeps the calling thread on one of the processors that it may use, so that two threads do not
/// take turns on one.
void stay_on_processor(unsigned number) {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) throw SystemError("affinity");
    for (std::size_t processor = 0; processor < CPU_SETSIZE; ++processor) {
        if (!CPU_ISSET(processor, &allowed) || number-- != 0) continue;
        cpu_set_t chosen;
        CPU_ZERO(&chosen);
        CPU_SET(processor, &chosen);
        if (::sched_setaffinity(0, sizeof chosen, &chosen) != 0) throw SystemError("affinity");
        return;
    }
}

/// How far apart two threads come from a meeting differs from machine to machine: any distance has
/// its turn.
void hesitate(std::minstd_rand& random) {
    for (auto turns = random() % 64; turns > 0; --turns) (void)random();
}

/// One round after the other, in which two threads do something at the same moment.
struct Collision {
    std::function<void()> prepare;  // by itself
    std::function<bool()> publish;  // on the one thread: whether it notifies
    std::function<bool()> ask;      // on the other: whether it has found something
    std::function<void()> settle;   // by itself

    /// How many of the rounds ended with neither: the side that asked would sleep for ever.
    [[nodiscard]] unsigned count_lost(unsigned rounds) const {
        MeetingPoint point;
        unsigned lost = 0;
        bool notified = false;
        bool found = false;
        const auto take_part = [&](unsigned number, const auto& part, const auto& after) {
            stay_on_processor(number);
            StoresThatWait others;
            std::minstd_rand random(number + 1);
            for (unsigned round = 0; round < rounds; ++round) {
                point.meet();
                hesitate(random);
                others(random);
                part();
                point.meet();
                after();
            }
        };
        prepare();
        std::thread asking([&] {
            take_part(
                0, [&] { found = ask(); }, [] {});
        });
        std::thread publishing([&] {
            take_part(
                1, [&] { notified = publish(); },
                [&] {
                    if (!notified && !found) ++lost;
                    settle();
                    prepare();
                });
        });
        asking.join();
        publishing.join();
        return lost;
    }
};

class RingOrdering : public testing::TestWithParam<bool> {
protected:
    /// Gives back what it is given, until there was `count` of it.
    void serve(unsigned count) {
        SplitRingDeviceView device(memory_.ring(), GetParam(), RingIndex(0));
        device.take_over();
        stay_on_processor(0);
        StoresThatWait others;
        std::minstd_rand random(1);
        for (unsigned served = 0; served < count && !lost_;) {
            const std::uint16_t available = device.available().value();
            for (std::uint16_t i = 0; i < available; ++i, ++served) {
                device.put_used(device.head(), served);
                device.take();
            }
            others(random);
            if (device.has_unpublished() && device.publish_used()) call_.signal();
            if (available != 0 || served == count) continue;
            if (look_for_a_while(random, [&] { return device.available().value() != 0; })) continue;
            others(random);
            if (device.request_kicks()) continue;
            if (!sleep_until(kick_)) lost_ = "a kick";
            device.suppress_kicks();
        }
    }

    /// One at a time: each side has nothing to do until the other has notified it.
    void drive(unsigned count) {
        SplitRingDriverView driver(memory_.ring(), GetParam());
        stay_on_processor(1);
        StoresThatWait others;
        std::minstd_rand random(2);
        for (unsigned sent = 0; sent < count && !lost_; ++sent) {
            driver.put_available(static_cast<std::uint16_t>(sent % 8));
            others(random);
            if (driver.publish_available()) kick_.signal();
            while (driver.used().value() == 0 && !lost_) {
                if (look_for_a_while(random, [&] { return driver.used().value() != 0; })) continue;
                others(random);
                if (driver.request_calls()) continue;
                if (!sleep_until(call_)) lost_ = "a call";
                driver.suppress_calls();
            }
            if (lost_) return;
            const virtio::UsedElement element = driver.take_used();
            ASSERT_EQ(element.id, sent % 8);
            ASSERT_EQ(element.length, sent);
        }
    }

    /// Memory with a ring in it, all zero.
    class Memory {
    public:
        [[nodiscard]] const virtio::SplitRing& ring() const { return driver_.ring(); }

    private:
        GuestMemory memory_{1 << 20};
        RingDriver driver_{memory_, 8, true};
    };

    Memory memory_;
    EventFd kick_;
    EventFd call_;
    std::atomic<const char*> lost_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(WithAndWithoutEventIdx, RingOrdering, testing::Bool());

TEST_P(RingOrdering, TheDriverKicksOrTheDeviceFindsTheHead) {
    SplitRingDeviceView device(memory_.ring(), GetParam(), RingIndex(0));
    SplitRingDriverView driver(memory_.ring(), GetParam());
    const Collision collision{.prepare =
                                  [&] {
                                      device.suppress_kicks();
                                      driver.put_available(0);
                                  },
                              .publish = [&] { return driver.publish_available(); },
                              .ask = [&] { return device.request_kicks(); },
                              .settle =
                                  [&] {
                                      device.take();
                                      device.put_used(0, 0);
                                      (void)device.publish_used();
                                      (void)driver.take_used();
                                  }};
    EXPECT_EQ(collision.count_lost(repeated(collisions)), 0U);
}

TEST_P(RingOrdering, TheDeviceCallsOrTheDriverFindsTheElement) {
    SplitRingDeviceView device(memory_.ring(), GetParam(), RingIndex(0));
    SplitRingDriverView driver(memory_.ring(), GetParam());
    const Collision collision{.prepare =
                                  [&] {
                                      driver.suppress_calls();
                                      driver.put_available(0);
                                      (void)driver.publish_available();
                                      device.take();
                                      device.put_used(0, 0);
                                  },
                              .publish = [&] { return device.publish_used(); },
                              .ask = [&] { return driver.request_calls(); },
                              .settle = [&] { (void)driver.take_used(); }};
    EXPECT_EQ(collision.count_lost(repeated(collisions)), 0U);
}

/// One at a time, both tell the other to be quiet whenever they can, and sleep: a notification that
/// is lost hangs them.
TEST_P(RingOrdering, LosesNoNotificationBetweenTwoThreads) {
    const unsigned count = repeated(100'000);
    std::thread device([&] { serve(count); });
    std::thread driver([&] { drive(count); });
    device.join();
    driver.join();
    EXPECT_EQ(lost_.load(), nullptr) << lost_.load() << " was lost";
}

}  // namespace
}  // namespace viaduct::test
