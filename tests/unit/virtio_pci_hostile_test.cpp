/// A guest that does everything that makes no sense, and several of its vCPUs at once.

#include <array>
#include <atomic>
#include <condition_variable>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/parking.hpp"
#include "tests/unit/virtio_pci_world.hpp"

namespace viaduct::test {
namespace {

class VirtioPciHostileGuest : public testing::Test {
public:
    /// The function still does its job.
    void expect_working() {
        world.put(PCI_BASE_ADDRESS_0, 4, World::registers_at);
        world.put(PCI_BASE_ADDRESS_2, 4, static_cast<std::uint32_t>(World::notify_at));
        world.put(PCI_BASE_ADDRESS_3, 4, World::notify_at >> 32);
        world.put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
        world.set_msix(false);
        world.run_with_msix();
        EXPECT_EQ(world.status(), 15);
        world.interrupts();
        world.device.guest_call(1).signal();
        EXPECT_EQ(world.interrupts(), std::vector<std::uint32_t>{0x42});
        EXPECT_TRUE(world.doorbells.ring(Gpa{World::notify_at}));
        EXPECT_EQ(world.device.out_of_bounds, 0U);
    }

    const QuietLog quiet;
    World world;
};

constexpr std::array<std::uint64_t, 8> odd_values{
    0, 1, 2, 0x7f, 0xff, 0x8000'0000, 0xffff'ffff, ~std::uint64_t{0}};

TEST_F(VirtioPciHostileGuest, WritesOddValuesToEveryRegisterInEveryWidth) {
    const std::array<std::uint64_t, 5> bases{world.common, world.isr, world.config, world.table,
                                             world.pba};
    for (const std::uint64_t base : bases) {
        for (std::uint64_t offset = 0; offset < 80; ++offset) {
            for (const unsigned width : {1U, 2U, 4U, 8U}) {
                for (const std::uint64_t value : odd_values) {
                    world.write(base + offset, width, value);
                    (void)world.read(base + offset, width);
                }
            }
        }
    }
    expect_working();
}

TEST_F(VirtioPciHostileGuest, WritesOddValuesToEveryRegisterOfARunningDevice) {
    for (std::uint64_t offset = 0; offset < 64; ++offset) {
        for (const unsigned width : {1U, 2U, 4U, 8U}) {
            world.run_with_msix();
            for (const std::uint64_t value : odd_values) {
                world.write(world.common + offset, width, value);
            }
        }
    }
    expect_working();
}

TEST_F(VirtioPciHostileGuest, WritesAllOverTheConfigurationSpace) {
    world.run_with_msix();
    for (unsigned offset = 0; offset < 0x110; ++offset) {
        for (const unsigned width : {1U, 2U, 3U, 4U}) {
            for (const std::uint64_t value : odd_values) {
                world.put(static_cast<std::uint16_t>(offset), width,
                          static_cast<std::uint32_t>(value));
                (void)world.get(static_cast<std::uint16_t>(offset), width);
            }
        }
    }
    expect_working();
}

TEST_F(VirtioPciHostileGuest, DoesThingsInRandomOrder) {
    std::mt19937_64 random(20);  // NOLINT(cert-msc51-cpp): the same walk each time
    const std::array<std::uint64_t, 6> bases{world.common, world.isr, world.config,
                                             world.table,  world.pba, World::notify_at};
    for (unsigned step = 0; step < 20'000; ++step) {
        const std::uint64_t value = random() % 3 == 0 ? random() : odd_values.at(random() % 8);
        const unsigned width = 1U << random() % 4;
        switch (random() % 8) {
            case 0:
                world.put(static_cast<std::uint16_t>(random() % 0x100), std::min(width, 4U),
                          static_cast<std::uint32_t>(value));
                break;
            case 1:
                world.device.guest_call(random() % 2).signal();
                break;
            case 2:
                world.device.config_call().signal();
                break;
            case 3:
                if (random() % 20 == 0) world.run_with_msix();
                break;
            default:
                world.write(bases.at(random() % 6) + random() % 72, width, value);
                (void)world.read(bases.at(random() % 6) + random() % 72, width);
        }
    }
    expect_working();
}

/// A vCPU that is paused while it waits, as the machine's are.
class CountingParking final : public Parking {
public:
    explicit CountingParking(std::atomic<int>& parked) : parked_(parked) { current() = this; }
    CountingParking(const CountingParking&) = delete;
    CountingParking& operator=(const CountingParking&) = delete;
    ~CountingParking() override { current() = nullptr; }
    void park() noexcept override { ++parked_; }
    void unpark() noexcept override { --parked_; }

private:
    std::atomic<int>& parked_;
};

TEST_F(VirtioPciHostileGuest, StatusIsrAndGenerationAnswerWhileTheDeviceIsBusy) {
    std::atomic<bool> busy = false;
    std::atomic<bool> release = false;
    std::atomic<int> parked = 0;
    world.run_with_intx();
    world.device.on_reset = [&] {
        busy = true;
        busy.notify_one();
        release.wait(false);
    };
    std::thread resetting([&] { world.set_status(0); });
    busy.wait(false);
    EXPECT_EQ(world.status(), 15) << "the reset is not complete";
    world.device.config_call().signal();
    world.device.guest_call(0).signal();
    world.settle();
    EXPECT_EQ(world.read(world.isr, 1), 3U);
    EXPECT_FALSE(world.line.high);
    (void)world.read(world.common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
    EXPECT_EQ(world.transport->snapshot().status, 15);
    std::thread waiting([&] {
        const CountingParking vcpu(parked);
        (void)world.read(world.config, 4);
    });
    while (parked == 0) std::this_thread::yield();
    release = true;
    release.notify_all();
    resetting.join();
    waiting.join();
    EXPECT_EQ(parked, 0);
    EXPECT_EQ(world.status(), 0);
    world.device.on_reset = {};
}

TEST_F(VirtioPciHostileGuest, SeveralVcpusMayDoAllOfThisAtOnce) {
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    const auto repeat = [&](auto&& step) {
        threads.emplace_back([&stop, step] {
            while (!stop) {
                step();
                std::this_thread::yield();
            }
        });
    };
    repeat([&] { world.run_with_msix(); });
    repeat([&] {
        world.set_msix(false);
        world.set_msix(true, true);
        world.set_msix(true);
    });
    repeat([&] {
        world.set_vector(1, true);
        (void)world.read(world.pba, 8);
        world.set_vector(1, false);
        (void)world.read(world.isr, 1);
    });
    repeat([&] {
        world.device.guest_call(0).signal();
        world.device.guest_call(1).signal();
        world.device.config_call().signal();
        world.router.deliver();
    });
    repeat([&] {
        world.put(PCI_BASE_ADDRESS_3, 4, 9);
        world.put(PCI_BASE_ADDRESS_3, 4, World::notify_at >> 32);
        (void)world.get(PCI_STATUS, 2);
        (void)world.transport->snapshot();
        (void)world.read(world.config, 4);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    expect_working();
}

TEST_F(VirtioPciHostileGuest, LosesNoEventWhileMasksAndModesChange) {
    world.run_with_msix();
    std::atomic<bool> stop = false;
    std::thread changing([&] {
        while (!stop) {
            world.set_vector(1, true);
            world.set_vector(1, false);
            world.set_msix(false);
            world.set_msix(true);
        }
    });
    for (unsigned i = 0; i < 200; ++i) {
        world.device.guest_call(0).signal();
        bool told = false;
        for (unsigned attempt = 0; attempt < 100'000 && !told; ++attempt) {
            told = !world.router.take_sent().empty() || (world.read(world.isr, 1) & 1) != 0;
        }
        ASSERT_TRUE(told) << "event " << i << " never reached the guest";
    }
    stop = true;
    changing.join();
}

}  // namespace
}  // namespace viaduct::test
