// The gate of the vCPU threads, on real vCPUs: each runs a few bytes of 16-bit code that either
// counts in its memory or leaves the guest by a port write again and again.
#include "vmm/vcpu_threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <future>
#include <memory>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/event_loop.hpp"
#include "base/mapping.hpp"
#include "vmm/kvm/memory_slots.hpp"

namespace viaduct::vmm {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto soon = 10s;
constexpr auto a_while = 30ms;
constexpr std::size_t page = 4096;

// inc word [0x200]; jmp back
constexpr std::array<std::uint8_t, 6> counting{0xff, 0x06, 0x00, 0x02, 0xeb, 0xfa};
// out 0x10, al; jmp back
constexpr std::array<std::uint8_t, 4> leaving{0xe6, 0x10, 0xeb, 0xfc};
// mov ax, [0x8000], where there is no memory; jmp back; and at `elsewhere`: counting
constexpr std::array<std::uint8_t, 14> reading{0xa1, 0x00, 0x80, 0xeb, 0xfb, 0x90, 0x90,
                                               0x90, 0xff, 0x06, 0x00, 0x02, 0xeb, 0xfa};
constexpr std::uint64_t elsewhere = 8;

class VcpuThreadsTest : public testing::Test {
protected:
    static constexpr unsigned vcpus = 2;

    void load(std::span<const std::uint8_t> code) {
        std::transform(code.begin(), code.end(), memory_.data(),
                       [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
        for (unsigned index = 0; index < vcpus; ++index) {
            auto vcpu = std::make_unique<kvm::Vcpu>(system_, vm_, index);
            kvm_sregs segments = vcpu->special_registers();
            segments.cs.base = 0;
            segments.cs.selector = 0;
            segments.ds.base = data_of(index);
            segments.ds.selector = static_cast<std::uint16_t>(data_of(index) >> 4);
            vcpu->set_special_registers(segments);
            kvm_regs registers{};
            registers.rflags = 2;
            vcpu->set_registers(registers);
            vcpus_.push_back(std::move(vcpu));
        }
    }
    void start(VcpuThreads::OnExit on_exit = [](kvm::Vcpu&) {}) {
        threads_.start(vcpus_, std::move(on_exit), [this](kvm::Vcpu&, int error) {
            failure_ = error;
            threads_.pause_soon();
        });
    }

    [[nodiscard]] std::uint16_t count(unsigned vcpu) const {
        // The guest's word, aligned.
        auto& word = *reinterpret_cast<std::uint16_t*>(memory_.data() + data_of(vcpu) + 0x200);
        return std::atomic_ref(word).load();
    }
    [[nodiscard]] bool runs(unsigned vcpu) const {
        const auto before = count(vcpu);
        return eventually([&] { return count(vcpu) != before; });
    }
    [[nodiscard]] bool all_stand_still() const {
        const std::array before{count(0), count(1)};
        std::this_thread::sleep_for(a_while);
        return before == std::array{count(0), count(1)};
    }
    template <typename Condition>
    static bool eventually(Condition condition) {
        const auto deadline = Clock::now() + soon;
        while (!condition()) {
            if (Clock::now() > deadline) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    }

    /// As a reset does to vCPUs that stand still.
    void send_elsewhere() {
        for (const auto& vcpu : vcpus_) {
            kvm_regs registers = vcpu->registers();
            registers.rip = elsewhere;
            vcpu->set_registers(registers);
        }
    }

    static std::uint64_t data_of(unsigned vcpu) { return page * (vcpu + 1); }

    kvm::System system_;
    kvm::Vm vm_{system_};
    Mapping memory_{"guest memory", 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS};
    kvm::MemorySlots slots_{vm_};
    kvm::MemorySlots::Slot slot_ = slots_.add(Gpa{0}, memory_.bytes());
    std::vector<std::unique_ptr<kvm::Vcpu>> vcpus_;
    // What the vCPUs' threads use, until they end with threads_.
    EventLoop device_{"device"};
    std::promise<void> answer_;
    std::shared_future<void> answered_ = answer_.get_future().share();
    std::array<std::atomic<unsigned>, vcpus> exits_{};
    std::atomic<int> failure_ = 0;
    VcpuThreads threads_;
};

TEST_F(VcpuThreadsTest, PausedVcpusStandStillAndResumedOnesGoOn) {
    load(counting);
    start();
    EXPECT_TRUE(runs(0) && runs(1));
    for (int round = 0; round < 5; ++round) {
        threads_.pause();
        EXPECT_TRUE(all_stand_still());
        threads_.resume();
        EXPECT_TRUE(runs(0) && runs(1));
    }
}

TEST_F(VcpuThreadsTest, GoOnWhenAsManyResumedAsPaused) {
    load(counting);
    start();
    threads_.pause();
    threads_.pause();
    threads_.resume();
    EXPECT_TRUE(all_stand_still());
    threads_.resume();
    EXPECT_TRUE(runs(0) && runs(1));
}

TEST_F(VcpuThreadsTest, ThreadsThatStartWhilePausedAreHeld) {
    load(counting);
    threads_.pause();
    start();
    EXPECT_TRUE(all_stand_still());
    EXPECT_EQ(count(0), 0);
    threads_.resume();
    EXPECT_TRUE(runs(0) && runs(1));
}

TEST_F(VcpuThreadsTest, SeveralThreadsMayPauseAtOnce) {
    load(counting);
    start();
    std::atomic<int> moved = 0;
    const auto pause_often = [&] {
        for (int round = 0; round < 50; ++round) {
            const datapath::VcpusPaused paused(threads_);
            const std::array before{count(0), count(1)};
            std::this_thread::yield();
            if (before != std::array{count(0), count(1)}) ++moved;
        }
    };
    std::thread first(pause_often);
    std::thread second(pause_often);
    first.join();
    second.join();
    EXPECT_EQ(moved, 0);
    EXPECT_TRUE(runs(0) && runs(1));
}

TEST_F(VcpuThreadsTest, AVcpuThatWaitsForADeviceCountsAsPausedAndMeetsTheGateAfterIt) {
    load(leaving);
    start([this](kvm::Vcpu& vcpu) {
        const bool first = ++exits_.at(vcpu.index()) == 1;
        if (vcpu.index() == 0 && first) {
            device_.call([this] { answered_.wait(); });
            ++exits_[0];
        }
    });
    ASSERT_TRUE(eventually([&] { return exits_[0] == 1; }));
    auto pausing = std::async(std::launch::async, [this] { threads_.pause(); });
    EXPECT_EQ(pausing.wait_for(soon), std::future_status::ready) << "it waits for the vCPU";
    answer_.set_value();
    pausing.get();
    // It finishes the exit that it was in, and enters the guest no more.
    EXPECT_TRUE(eventually([&] { return exits_[0] == 2; }));
    std::this_thread::sleep_for(a_while);
    EXPECT_EQ(exits_[0], 2U);
    threads_.resume();
    EXPECT_TRUE(eventually([&] { return exits_[0] > 2; }));
}

TEST_F(VcpuThreadsTest, TheThreadThatAVcpuWaitsForMayPauseAll) {
    load(leaving);
    start([this](kvm::Vcpu& vcpu) {
        device_.call([this] { const datapath::VcpusPaused paused(threads_); });
        ++exits_.at(vcpu.index());
    });
    EXPECT_TRUE(eventually([&] { return exits_[0] >= 10 && exits_[1] >= 10; }));
}

TEST_F(VcpuThreadsTest, AVcpuMayAskForAPauseItself) {
    load(leaving);
    start([this](kvm::Vcpu& vcpu) {
        if (++exits_.at(vcpu.index()) == 3 && vcpu.index() == 0) threads_.pause_soon();
    });
    ASSERT_TRUE(eventually([&] { return exits_[0] == 3; }));
    std::this_thread::sleep_for(a_while);
    EXPECT_EQ(exits_[0], 3U);
    threads_.resume();
    EXPECT_TRUE(eventually([&] { return exits_[0] > 3 && exits_[1] > 0; }));
}

TEST_F(VcpuThreadsTest, AnAccessIsOverWhenItsVcpuStandsStill) {
    load(reading);
    start([this](kvm::Vcpu& vcpu) { ++exits_.at(vcpu.index()); });
    ASSERT_TRUE(eventually([&] { return exits_[0] >= 10 && exits_[1] >= 10; }));
    threads_.pause();
    send_elsewhere();
    threads_.resume();
    EXPECT_TRUE(runs(0) && runs(1)) << "the old access has set the instruction pointer";
}

TEST_F(VcpuThreadsTest, WhoWaitsForAccessesWaitsForThoseThatWaitForADeviceToo) {
    load(reading);
    start([this](kvm::Vcpu& vcpu) {
        if (++exits_.at(vcpu.index()) == 1 && vcpu.index() == 0) {
            device_.call([this] { answered_.wait(); });
        }
    });
    ASSERT_TRUE(eventually([&] { return exits_[0] == 1; }));
    threads_.pause();
    auto waiting = std::async(std::launch::async, [this] { threads_.finish_accesses(); });
    EXPECT_EQ(waiting.wait_for(a_while), std::future_status::timeout);
    answer_.set_value();
    ASSERT_EQ(waiting.wait_for(soon), std::future_status::ready);
    send_elsewhere();
    threads_.resume();
    EXPECT_TRUE(runs(0) && runs(1)) << "the old access has set the instruction pointer";
}

TEST_F(VcpuThreadsTest, ARunThatFailsIsTold) {
    load(counting);
    // Bits of synchronous registers that no kernel knows: KVM_RUN refuses.
    vcpus_[1]->shared().kvm_valid_regs = ~0ULL;
    start();
    EXPECT_TRUE(eventually([&] { return failure_ == EINVAL; }));
}

TEST_F(VcpuThreadsTest, ThreadsAreKnownByIdAndName) {
    load(counting);
    EXPECT_EQ(threads_.thread_id(0), 0);
    start();
    EXPECT_TRUE(runs(1));
    std::ifstream comm("/proc/self/task/" + std::to_string(threads_.thread_id(1)) + "/comm");
    std::string name;
    comm >> name;
    EXPECT_EQ(name, "vcpu-1");
    EXPECT_EQ(threads_.thread_id(vcpus), 0);
}

/// No thread can be started while this lives: its stack would be larger than any process.
class NoMoreThreads {
public:
    NoMoreThreads() {
        ::pthread_getattr_default_np(&before_);
        pthread_attr_t attributes{};
        ::pthread_getattr_default_np(&attributes);
        ::pthread_attr_setstacksize(&attributes, std::size_t{1} << 50);
        EXPECT_EQ(::pthread_setattr_default_np(&attributes), 0);
        ::pthread_attr_destroy(&attributes);
    }
    NoMoreThreads(const NoMoreThreads&) = delete;
    NoMoreThreads& operator=(const NoMoreThreads&) = delete;
    ~NoMoreThreads() {
        ::pthread_setattr_default_np(&before_);
        ::pthread_attr_destroy(&before_);
    }

private:
    pthread_attr_t before_{};
};

TEST_F(VcpuThreadsTest, AThreadThatIsNotToBeHadIsAnError) {
    load(counting);
    const NoMoreThreads scarcity;
    EXPECT_THAT([this] { start(); },
                testing::ThrowsMessage<Error>(testing::AllOf(
                    testing::HasSubstr("no thread for vCPU 0"), testing::HasSubstr("ulimit -u"))));
    EXPECT_EQ(threads_.thread_id(0), 0);
    EXPECT_EQ(count(0), 0);
    threads_.join();
}

TEST_F(VcpuThreadsTest, JoinEndsThemWhateverTheyDo) {
    load(counting);
    start();
    threads_.pause();
    threads_.join();
    EXPECT_TRUE(all_stand_still());
    threads_.join();
}

}  // namespace
}  // namespace viaduct::vmm
