/// A guest whose disk changes its data path under load: a GuestDevice over the embedded device,
/// with faults where a test wants them, and a thread per queue that keeps requests in flight,
/// checks what comes back, and counts every completion.
#pragma once

#include <poll.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/faulty_device.hpp"
#include "tests/unit/ring_driver.hpp"
#include "tests/unit/soft_disk.hpp"
#include "vdpa/datapath/guest_device.hpp"

namespace viaduct::test {

/// The vCPUs: whoever makes requests available holds it shared.
class VcpuLock final : public datapath::VcpuGate {
public:
    void pause() override { mutex_.lock(); }
    void resume() override { mutex_.unlock(); }
    std::shared_mutex& mutex() { return mutex_; }

private:
    std::shared_mutex mutex_;
};

/// Writes and reads back, `depth` sectors at a time, each by itself.
class VerifyingLoad {
public:
    VerifyingLoad(GuestMemory& memory, RingDriver& driver, VcpuLock& vcpus, const EventFd& kick,
                  const EventFd& call, std::uint64_t first_sector, unsigned depth, bool indirect)
        : memory_(memory),
          driver_(driver),
          vcpus_(vcpus),
          kick_(kick),
          call_(call),
          first_sector_(first_sector),
          indirect_(indirect),
          slots_(depth) {
        for (Slot& slot : slots_) {
            slot.header = memory.allocate(sizeof(virtio_blk_outhdr), 16);
            slot.content = memory.allocate(sector, 512);
            slot.status = memory.allocate(1, 1);
            slot.table = memory.allocate(3 * sizeof(virtio::Descriptor), 16);
        }
        thread_ = std::thread([this] { run(); });
    }
    VerifyingLoad(const VerifyingLoad&) = delete;
    VerifyingLoad& operator=(const VerifyingLoad&) = delete;
    ~VerifyingLoad() { finish(); }

    /// Waits until all that is in flight has come back.
    void finish() {
        stopping_ = true;
        if (thread_.joinable()) thread_.join();
    }
    [[nodiscard]] std::uint64_t completions() const { return completions_; }
    [[nodiscard]] std::string failure() const {
        const std::lock_guard lock(mutex_);
        return failure_;
    }

private:
    struct Slot {
        Iova header;
        Iova content;
        Iova status;
        Iova table;
        std::uint16_t head = 0;
        bool in_flight = false;
        bool writes = false;
        std::uint32_t round = 0;
    };

    void run() {
        {
            const std::shared_lock lock(vcpus_.mutex());
            for (Slot& slot : slots_) submit(slot);
            if (driver_.publish()) kick_.signal();
        }
        while (failure().empty() && std::any_of(slots_.begin(), slots_.end(),
                                                [](const Slot& slot) { return slot.in_flight; })) {
            wait();
            const std::shared_lock lock(vcpus_.mutex());
            bool posted = false;
            while (const auto element = driver_.take_used()) posted |= complete(*element);
            if (posted && driver_.publish()) kick_.signal();
        }
    }

    void wait() {
        if (driver_.request_interrupts()) return;
        pollfd poll{call_.fd(), POLLIN, 0};
        if (::poll(&poll, 1, 20'000) != 1) return fail("nothing came back for 20 s");
        (void)call_.take();
    }

    void submit(Slot& slot) {
        slot.writes = !slot.writes;
        if (slot.writes) ++slot.round;
        const auto index = static_cast<std::uint64_t>(&slot - slots_.data());
        const std::uint32_t type = slot.writes ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
        memory_.store(slot.header, virtio_blk_outhdr{type, 0, first_sector_ + index});
        memory_.store(slot.content, slot.writes ? slot.round : ~slot.round);
        memory_.store(slot.status, std::byte{0xff});
        const std::array buffers{Buffer{slot.header, sizeof(virtio_blk_outhdr), false},
                                 Buffer{slot.content, sector, !slot.writes},
                                 Buffer{slot.status, 1, true}};
        slot.head = indirect_ ? driver_.add_indirect(buffers, slot.table) : driver_.add(buffers);
        slot.in_flight = true;
    }

    /// True when another request was posted in its place.
    bool complete(const virtio::UsedElement& element) {
        const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& candidate) {
            return candidate.in_flight && candidate.head == element.id;
        });
        if (slot == slots_.end()) return fail("a completion nobody waits for"), false;
        slot->in_flight = false;
        ++completions_;
        if (memory_.load<std::byte>(slot->status) != std::byte{0}) fail("a request failed");
        if (memory_.load<std::uint32_t>(slot->content) != slot->round) fail("wrong content");
        if (stopping_ || !failure().empty()) return false;
        submit(*slot);
        return true;
    }

    void fail(const std::string& reason) {
        const std::lock_guard lock(mutex_);
        if (failure_.empty()) failure_ = reason;
    }

    GuestMemory& memory_;
    RingDriver& driver_;
    VcpuLock& vcpus_;
    const EventFd& kick_;
    const EventFd& call_;
    std::uint64_t first_sector_;
    bool indirect_;
    std::vector<Slot> slots_;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::uint64_t> completions_ = 0;
    mutable std::mutex mutex_;
    std::string failure_;  // guarded by mutex_
    std::thread thread_;
};

inline bool succeeded(const datapath::SwitchOutcome& outcome) {
    return std::holds_alternative<datapath::SwitchReport>(outcome);
}
inline std::string reason(const datapath::SwitchOutcome& outcome) {
    return succeeded(outcome) ? "it succeeded" : std::get<std::string>(outcome);
}

struct SwitchTerms {
    unsigned queues = 1;
    unsigned depth = 4;
    bool suspend = true;
    bool ring_state = true;
    bool keeps_map = true;
    bool event_idx = true;
    bool indirect = true;
    std::optional<datapath::Policy> policy{};
    std::shared_ptr<datapath::ThrottleGroup> group{};
    std::chrono::milliseconds drain_timeout{20'000};
    /// In place of one over a file.
    std::function<std::unique_ptr<soft::SoftDevice>()> make_device{};
};

class SwitchWorld {
public:
    explicit SwitchWorld(const SwitchTerms& terms) : terms_(terms) {
        datapath::GuestDeviceOptions options;
        options.id = "disk0";
        options.policy = terms.policy;
        options.throttle_group = terms.group;
        options.drain_timeout = terms.drain_timeout;
        guest_ = std::make_unique<datapath::GuestDevice>(
            options, [this] { return open(); }, memory.space(), vcpus,
            datapath::GuestDevice::Observer{.on_broken =
                                                [this](const std::string& reason) {
                                                    const std::lock_guard lock(mutex_);
                                                    broken_.push_back(reason);
                                                },
                                            .on_switched = [this](const auto&) { ++switches; }});
        for (unsigned queue = 0; queue < terms.queues; ++queue) {
            drivers_.push_back(std::make_unique<RingDriver>(memory, 64, terms.event_idx));
        }
    }

    SwitchWorld(const SwitchWorld&) = delete;
    SwitchWorld& operator=(const SwitchWorld&) = delete;
    /// What a test had said about failures knows what is gone by now.
    ~SwitchWorld() {
        before = [](const std::string&) {};
    }

    datapath::GuestDevice& guest() { return *guest_; }
    RingDriver& driver(unsigned queue = 0) { return *drivers_.at(queue); }

    bool run() {
        std::vector<virtio::QueueSetup> setups;
        for (const auto& driver : drivers_) setups.push_back(driver->setup());
        return guest().accept_features(guest().offered_features()) && guest().start(setups);
    }
    void start_load() {
        for (unsigned queue = 0; queue < terms_.queues; ++queue) start_load_of(queue);
    }
    void start_load_of(unsigned queue) {
        loads_.push_back(std::make_unique<VerifyingLoad>(
            memory, driver(queue), vcpus, guest().guest_kick(queue), guest().guest_call(queue),
            queue * 256, terms_.depth, terms_.indirect));
    }
    /// What stands in a request's memory before the device has been there.
    static constexpr std::uint32_t not_read = 0xdeadbeef;
    static constexpr std::byte not_answered{0xee};
    struct Read {
        Iova content;
        Iova status;
    };
    /// Makes that many requests available, for whoever looks at them.
    std::vector<Read> post_reads(unsigned count, unsigned queue = 0) {
        std::vector<Read> reads;
        for (unsigned i = 0; i < count; ++i) {
            const Iova header = memory.allocate(16, 16);
            memory.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0});
            const Read read{memory.allocate(sector, 512), memory.allocate(1, 1)};
            memory.store(read.content, not_read);
            memory.store(read.status, not_answered);
            driver(queue).add(std::array{Buffer{header, 16, false},
                                         Buffer{read.content, sector, true},
                                         Buffer{read.status, 1, true}});
            reads.push_back(read);
        }
        driver(queue).publish();
        guest().guest_kick(queue).signal();
        return reads;
    }
    /// Its head.
    std::uint16_t post_flush() {
        const Iova header = memory.allocate(16, 16);
        memory.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_FLUSH, 0, 0});
        const Iova status = memory.allocate(1, 1);
        const std::uint16_t head =
            driver().add(std::array{Buffer{header, 16, false}, Buffer{status, 1, true}});
        driver().publish();
        guest().guest_kick(0).signal();
        return head;
    }
    /// Expects that every request came back once and right, and that some did.
    void finish_load() {
        for (const auto& load : loads_) {
            load->finish();
            EXPECT_EQ(load->failure(), "");
            EXPECT_GT(load->completions(), 0U);
        }
        loads_.clear();
    }
    std::uint64_t completions() const {
        std::uint64_t all = 0;
        for (const auto& load : loads_) all += load->completions();
        return all;
    }
    /// As a guest driver begins anew after what it found broken.
    void reset() {
        guest().reset();
        for (const auto& driver : drivers_) {
            driver->forget_outstanding();
            driver->start_at({});
        }
    }

    datapath::SwitchOutcome set(datapath::Policy policy,
                                const datapath::SwitchOptions& options = {}) {
        return wait([&](auto done) { guest().set_policy(policy, options, std::move(done)); });
    }
    datapath::SwitchOutcome throttle(const datapath::ThrottleLimits& limits) {
        return wait([&](auto done) {
            guest().set_throttle(guest().throttle_group(), limits, std::move(done));
        });
    }
    template <typename Start>
    datapath::SwitchOutcome wait(Start&& start) {
        std::promise<datapath::SwitchOutcome> promise;
        auto future = promise.get_future();
        start([&](datapath::SwitchOutcome outcome) { promise.set_value(std::move(outcome)); });
        in_time([&] { future.wait(); });
        return future.get();
    }
    /// Ends the test program when it takes for ever: nothing else can be done with a control thread
    /// that does not come back.
    template <typename Action>
    void in_time(Action&& action) {
        auto done = std::async(std::launch::async, [&] { action(); });
        if (done.wait_for(std::chrono::seconds(60)) == std::future_status::ready) return;
        std::fprintf(stderr, "an operation on the device has not ended after 60 s\n");
        std::abort();
    }

    [[nodiscard]] std::vector<std::string> broken() const {
        const std::lock_guard lock(mutex_);
        return broken_;
    }

    GuestMemory memory{std::size_t{32} << 20};
    VcpuLock vcpus;
    FaultyDevice::Before before = [](const std::string&) {};
    std::atomic<unsigned> switches = 0;
    std::atomic<unsigned> refusals = 0;  // of FEATURES_OK, that are still to come

private:
    std::unique_ptr<vdpa::Device> open() {
        soft::SoftDeviceOptions options;
        options.image = image_.path();
        options.queues = terms_.queues;
        std::uint64_t features = ~std::uint64_t{0};
        if (!terms_.event_idx) features &= ~virtio::feature::event_idx;
        if (!terms_.indirect) features &= ~virtio::feature::indirect_desc;
        auto device =
            terms_.make_device ? terms_.make_device() : std::make_unique<soft::SoftDevice>(options);
        return std::make_unique<FaultyDevice>(
            std::move(device),
            FaultyDevice::Abilities{
                .suspend = terms_.suspend,
                .ring_state = terms_.ring_state,
                .keeps_map = terms_.keeps_map,
                .features = features,
                .refuses_features_ok = [this] { return refusals != 0 && refusals-- != 0; }},
            before);
    }

    SwitchTerms terms_;
    TemporaryImage image_{"/dev/shm"};
    mutable std::mutex mutex_;
    std::vector<std::string> broken_;  // guarded by mutex_
    std::vector<std::unique_ptr<RingDriver>> drivers_;
    std::unique_ptr<datapath::GuestDevice> guest_;
    std::vector<std::unique_ptr<VerifyingLoad>> loads_;
};

}  // namespace viaduct::test
