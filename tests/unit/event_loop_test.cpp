// The thread that runs one thing at a time.
#include "base/event_loop.hpp"

#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"

namespace viaduct {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

/// Counts waits, as the owner of a vCPU's thread would.
class CountingParking final : public Parking {
public:
    CountingParking() { Parking::current() = this; }
    CountingParking(const CountingParking&) = delete;
    CountingParking& operator=(const CountingParking&) = delete;
    ~CountingParking() override { Parking::current() = nullptr; }
    void park() noexcept override { ++parked; }
    void unpark() noexcept override { ++unparked; }

    std::atomic<int> parked = 0;
    std::atomic<int> unparked = 0;
};

/// Runs what was posted and seen readable so far. Twice, as a round of epoll may report a wake-up
/// before a descriptor that was readable first.
void settle(EventLoop& loop) {
    loop.call([] {});
    loop.call([] {});
}

TEST(EventLoop, RunsTasksInOrderOnItsOwnThread) {
    std::vector<int> ran;
    std::thread::id where;
    EventLoop loop("test-loop");
    for (int i = 0; i < 3; ++i) loop.post([&, i] { ran.push_back(i); });
    loop.post([&] { where = std::this_thread::get_id(); });
    loop.call([] {});
    EXPECT_THAT(ran, ElementsAre(0, 1, 2));
    EXPECT_NE(where, std::this_thread::get_id());
}

TEST(EventLoop, CallReturnsTheResult) {
    EventLoop loop("test-loop");
    EXPECT_EQ(loop.call([] { return std::string("done"); }), "done");
}

TEST(EventLoop, CallCarriesAnExceptionBackAndTheLoopGoesOn) {
    EventLoop loop("test-loop");
    EXPECT_THROW(loop.call([] { throw Error("no"); }), Error);
    EXPECT_EQ(loop.call([] { return 1; }), 1);
}

TEST(EventLoop, CallOnTheLoopsOwnThreadRunsAtOnce) {
    EventLoop loop("test-loop");
    EXPECT_EQ(loop.call([&] { return loop.call([] { return 7; }); }), 7);
}

TEST(EventLoop, CallsFromManyThreadsAreOneAtATime) {
    constexpr int rounds = 200;
    EventLoop loop("test-loop");
    int plain = 0;  // a race for ThreadSanitizer if two run at once
    std::vector<std::jthread> callers(4);
    for (auto& caller : callers) {
        caller = std::jthread([&] {
            for (int i = 0; i < rounds; ++i) loop.call([&] { ++plain; });
        });
    }
    callers.clear();
    EXPECT_EQ(loop.call([&] { return plain; }), 4 * rounds);
}

TEST(EventLoop, HasTheNameThatPsShows) {
    EventLoop loop("vdpa-disk0");
    std::array<char, 16> name{};
    loop.call([&] { ::pthread_getname_np(::pthread_self(), name.data(), name.size()); });
    EXPECT_STREQ(name.data(), "vdpa-disk0");
}

TEST(EventLoop, RunsWhatWasPostedBeforeItEnds) {
    std::vector<int> ran;
    {
        EventLoop loop("test-loop");
        loop.post([] { std::this_thread::sleep_for(5ms); });
        for (int i = 0; i < 3; ++i) loop.post([&, i] { ran.push_back(i); });
    }
    EXPECT_THAT(ran, ElementsAre(0, 1, 2));
}

TEST(EventLoop, CallsBackForAReadableDescriptor) {
    const EventFd event;
    int count = 0;
    EventLoop loop("test-loop");
    loop.watch(event.fd(), [&] {
        if (event.take()) ++count;
    });
    settle(loop);
    EXPECT_EQ(count, 0);
    event.signal();
    settle(loop);
    EXPECT_EQ(count, 1);
    event.signal();
    settle(loop);
    EXPECT_EQ(count, 2);
}

TEST(EventLoop, CallsBackAgainUntilTheDescriptorIsConsumed) {
    const EventFd event;
    std::atomic<int> count = 0;
    EventLoop loop("test-loop");
    loop.watch(event.fd(), [&] {
        if (++count == 3) (void)event.take();
    });
    event.signal();
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (count < 3 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(1ms);
    }
    settle(loop);
    EXPECT_EQ(count, 3);
}

TEST(EventLoop, AfterUnwatchTheCallbackNeitherRunsNorWillRun) {
    const EventFd event;
    std::atomic<bool> gone = false;
    std::atomic<bool> ran_after = false;
    std::atomic<int> count = 0;
    EventLoop loop("test-loop");
    loop.watch(event.fd(), [&] {
        ++count;
        std::this_thread::sleep_for(1ms);
        if (gone) ran_after = true;
    });
    event.signal();  // never consumed: the callback runs all the time
    while (count == 0) std::this_thread::sleep_for(1ms);
    loop.unwatch(event.fd());
    gone = true;
    settle(loop);
    EXPECT_FALSE(ran_after);
}

TEST(EventLoop, ACallbackMayUnwatchItself) {
    const EventFd event;
    int count = 0;
    EventLoop loop("test-loop");
    loop.watch(event.fd(), [&, seen = std::make_shared<int>(0)] {
        loop.unwatch(event.fd());
        count = ++*seen;  // what it holds is still there
    });
    event.signal();
    settle(loop);
    settle(loop);
    EXPECT_EQ(count, 1);
}

TEST(EventLoop, UnwatchingWhatIsNotWatchedIsNothing) {
    EventLoop loop("test-loop");
    const EventFd event;
    loop.unwatch(event.fd());
    loop.watch(event.fd(), [] {});
    loop.unwatch(event.fd());
    loop.unwatch(event.fd());
}

TEST(EventLoop, ADescriptorMayBeWatchedAgain) {
    const EventFd event;
    EventLoop loop("test-loop");
    int first = 0;
    int second = 0;
    loop.watch(event.fd(), [&] {
        (void)event.take();
        ++first;
    });
    loop.unwatch(event.fd());
    loop.watch(event.fd(), [&] {
        (void)event.take();
        ++second;
    });
    event.signal();
    settle(loop);
    EXPECT_EQ(first, 0);
    EXPECT_EQ(second, 1);
}

TEST(EventLoop, WatchingWhatCannotBeWatchedIsAnError) {
    EventLoop loop("test-loop");
    EXPECT_THROW(loop.watch(-1, [] {}), SystemError);
}

TEST(EventLoop, AVcpuThatWaitsForACallCountsAsPaused) {
    CountingParking vcpu;
    EventLoop loop("test-loop");
    // Seen from the loop while the caller waits.
    std::atomic<bool> was_parked = false;
    loop.call([&] {
        const auto deadline = std::chrono::steady_clock::now() + 10s;
        while (vcpu.parked == 0 && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(1ms);
        }
        was_parked = vcpu.parked == 1 && vcpu.unparked == 0;
    });
    EXPECT_TRUE(was_parked);
    EXPECT_EQ(vcpu.unparked, 1);
}

TEST(EventLoop, AVcpuCountsAsRunningAgainAfterACallThatThrew) {
    CountingParking vcpu;
    EventLoop loop("test-loop");
    EXPECT_THROW(loop.call([] { throw std::runtime_error("no"); }), std::runtime_error);
    EXPECT_EQ(vcpu.parked, 1);
    EXPECT_EQ(vcpu.unparked, 1);
}

}  // namespace
}  // namespace viaduct
