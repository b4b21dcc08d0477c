// A throttle group whose members live in threads of their own, as relays do.
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "vdpa/datapath/throttle/member.hpp"

namespace viaduct::datapath {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Always has a request of each direction, and sleeps while neither may go.
class RequestingThread {
public:
    RequestingThread() { member.set_wake(&wake_); }
    RequestingThread(const RequestingThread&) = delete;
    RequestingThread& operator=(const RequestingThread&) = delete;
    ~RequestingThread() {
        stops_ = true;
        wake_.signal();
        thread_.join();
        member.set_wake(nullptr);
    }

    [[nodiscard]] std::uint64_t requests() const { return requests_; }
    /// False: there was none for long.
    [[nodiscard]] bool has_another_request() const {
        const std::uint64_t before = requests_;
        for (int i = 0; i < 3000 && requests_ == before; ++i) std::this_thread::sleep_for(10ms);
        return requests_ != before;
    }

    ThrottleMember member;

private:
    void run() {
        while (!stops_) {
            (void)wake_.take();
            const auto now = Clock::now();
            const bool fetched = member.admit(false, 4096, now);
            const bool written = member.admit(true, 4096, now);
            requests_ += (fetched ? 1U : 0U) + (written ? 1U : 0U);
            if (!fetched && !written) {
                sleep(now);
            } else if (requests_ % 64 == 0) {
                member.withdraw();
            }
        }
    }
    /// For ever, if a wake is lost.
    void sleep(Clock::time_point now) {
        std::optional<Clock::time_point> until = member.when(false);
        const auto other = member.when(true);
        if (!until || (other && *other < *until)) until = other;
        timespec time{};
        if (until) {
            const auto left = std::chrono::nanoseconds(std::max(*until - now, Clock::duration{}));
            time = {.tv_sec = left / 1s, .tv_nsec = left % 1s / 1ns};
        }
        pollfd poll{wake_.fd(), POLLIN, 0};
        ::ppoll(&poll, 1, until ? &time : nullptr, nullptr);
    }

    EventFd wake_;
    std::atomic<std::uint64_t> requests_ = 0;
    std::atomic<bool> stops_ = false;
    std::thread thread_{[this] { run(); }};
};

ThrottleLimits requests_per_second(std::uint64_t iops) {
    ThrottleLimits limits;
    limits.iops.average = iops;
    return limits;
}

class ThrottleThreads : public testing::Test {
protected:
    [[nodiscard]] std::uint64_t requests() const {
        std::uint64_t sum = 0;
        for (const auto& thread : threads_) sum += thread.requests();
        return sum;
    }
    void expect_all_to_go_on() const {
        for (const auto& thread : threads_) EXPECT_TRUE(thread.has_another_request());
    }

    const std::shared_ptr<ThrottleGroup> group_ = std::make_shared<ThrottleGroup>("disks");
    std::array<RequestingThread, 3> threads_;
};

TEST_F(ThrottleThreads, HandTurnsToEachOtherAndKeepToTheLimit) {
    group_->set_limits(requests_per_second(500), Clock::now());
    for (auto& thread : threads_) thread.member.join(group_);
    const auto begin = Clock::now();
    const std::uint64_t before = requests();
    std::uint64_t sum = 0;
    for (int i = 0; i < 3000 && sum < 300; ++i) {
        std::this_thread::sleep_for(10ms);
        sum = requests() - before;
    }
    const std::chrono::duration<double> time = Clock::now() - begin;
    EXPECT_GE(sum, 300U);
    EXPECT_LE(static_cast<double>(sum), 500 * time.count() + 60) << "50 of them at once";
    expect_all_to_go_on();
}

TEST_F(ThrottleThreads, GoOnWhileGroupsAndLimitsComeAndGo) {
    const auto other = std::make_shared<ThrottleGroup>("other");
    other->set_limits(requests_per_second(50), Clock::now());
    for (unsigned i = 0; i < 600; ++i) {
        RequestingThread& thread = threads_[i % threads_.size()];
        if (i % 5 == 0)
            group_->set_limits(requests_per_second(std::uint64_t{i} % 7 * 100), Clock::now());
        if (i % 4 == 1) thread.member.leave();
        if (i % 4 == 2) thread.member.join(other);
        if (i % 4 == 3) thread.member.join(group_);
        std::this_thread::sleep_for(500us);
    }
    for (auto& thread : threads_) thread.member.join(group_);
    group_->set_limits(requests_per_second(100), Clock::now());
    expect_all_to_go_on();
    group_->set_limits({}, Clock::now());
    expect_all_to_go_on();
    group_->set_limits(requests_per_second(1), Clock::now());
    for (auto& thread : threads_) thread.member.leave();
    expect_all_to_go_on();
}

TEST(ThrottleThread, MayEndWhileItHasTheTurn) {
    const auto group = std::make_shared<ThrottleGroup>("disks");
    group->set_limits(requests_per_second(100), Clock::now());
    RequestingThread stays;
    stays.member.join(group);
    for (int i = 0; i < 20; ++i) {
        RequestingThread ends;
        ends.member.join(group);
        EXPECT_TRUE(ends.has_another_request());
    }
    EXPECT_TRUE(stays.has_another_request());
}

}  // namespace
}  // namespace viaduct::datapath
