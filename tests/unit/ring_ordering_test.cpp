// A driver's and a device's view of one ring, on two threads, both of which tell the other to be
// quiet whenever they can: a notification that is lost for want of order hangs them.
#include <poll.h>

#include <atomic>
#include <random>
#include <thread>

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

/// Sleeps until `event`; false when it does not come.
bool sleep_until(const EventFd& event) {
    pollfd poll{event.fd(), POLLIN, 0};
    if (::poll(&poll, 1, 5'000) != 1) return false;
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

class RingOrdering : public testing::TestWithParam<bool> {
protected:
    /// Gives back what it is given, until there was `count` of it.
    void serve(unsigned count) {
        SplitRingDeviceView device(memory_.ring(), GetParam(), RingIndex(0));
        device.take_over();
        std::minstd_rand random(1);
        for (unsigned served = 0; served < count && !lost_;) {
            const std::uint16_t available = device.available().value();
            for (std::uint16_t i = 0; i < available; ++i, ++served) {
                device.put_used(device.head(), served);
                device.take();
            }
            if (device.has_unpublished() && device.publish_used()) call_.signal();
            if (available != 0 || served == count) continue;
            if (look_for_a_while(random, [&] { return device.available().value() != 0; })) continue;
            if (device.request_kicks()) continue;
            if (!sleep_until(kick_)) lost_ = "a kick";
            device.suppress_kicks();
        }
    }

    /// One at a time: each side has nothing to do until the other has notified it.
    void drive(unsigned count) {
        SplitRingDriverView driver(memory_.ring(), GetParam());
        std::minstd_rand random(2);
        for (unsigned sent = 0; sent < count && !lost_; ++sent) {
            driver.put_available(static_cast<std::uint16_t>(sent % 8));
            if (driver.publish_available()) kick_.signal();
            while (driver.used().value() == 0 && !lost_) {
                if (look_for_a_while(random, [&] { return driver.used().value() != 0; })) continue;
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

TEST_P(RingOrdering, LosesNoNotificationBetweenTwoThreads) {
    const unsigned count = repeated(100'000);
    std::thread device([&] { serve(count); });
    drive(count);
    device.join();
    EXPECT_EQ(lost_.load(), nullptr) << lost_.load() << " was lost";
}

}  // namespace
}  // namespace viaduct::test
