// A vCPU thread that waits counts as paused.
#include "base/parking.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

namespace viaduct {
namespace {

using namespace std::chrono_literals;

class CountedParking final : public Parking {
public:
    void park() noexcept override { ++parked; }
    void unpark() noexcept override { ++unparked; }
    std::atomic<int> parked = 0;
    std::atomic<int> unparked = 0;
};

TEST(Parking, BelongsToItsThread) {
    CountedParking vcpu;
    std::thread other([&] {
        Parking::current() = &vcpu;
        const Parked parked;
        EXPECT_EQ(vcpu.parked, 1);
        EXPECT_EQ(vcpu.unparked, 0);
    });
    other.join();
    EXPECT_EQ(vcpu.unparked, 1);
    EXPECT_EQ(Parking::current(), nullptr);
}

TEST(Parking, DoesNotConcernThreadsWithoutOne) {
    const Parked parked;
    ParkingMutex mutex;
    const std::lock_guard lock(mutex);
}

TEST(ParkingMutex, IsFreeToTakeWithoutParking) {
    CountedParking vcpu;
    ParkingMutex mutex;
    std::thread other([&] {
        Parking::current() = &vcpu;
        const std::lock_guard lock(mutex);
    });
    other.join();
    EXPECT_EQ(vcpu.parked, 0);
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
}

TEST(ParkingMutex, AVcpuThatWaitsForItCountsAsPausedUntilItHasIt) {
    CountedParking vcpu;
    ParkingMutex mutex;
    std::atomic<bool> has_it = false;
    mutex.lock();
    std::thread other([&] {
        Parking::current() = &vcpu;
        const std::lock_guard lock(mutex);
        has_it = true;
    });
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (vcpu.parked == 0 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(vcpu.parked, 1);
    EXPECT_EQ(vcpu.unparked, 0);
    EXPECT_FALSE(has_it);
    mutex.unlock();
    other.join();
    EXPECT_TRUE(has_it);
    EXPECT_EQ(vcpu.unparked, 1);
}

TEST(ParkingMutex, HoldsOneAtATime) {
    constexpr int rounds = 1000;
    ParkingMutex mutex;
    int plain = 0;  // a race for ThreadSanitizer if two are inside
    const auto count = [&] {
        for (int i = 0; i < rounds; ++i) {
            const std::lock_guard lock(mutex);
            ++plain;
        }
    };
    std::thread first(count);
    std::thread second(count);
    first.join();
    second.join();
    EXPECT_EQ(plain, 2 * rounds);
}

}  // namespace
}  // namespace viaduct
