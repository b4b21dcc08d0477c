// What a relay adds to the time of a request at queue depth 1: a host-side driver and device, once
// with nobody between them, once with the relay's thread, and beside it what two threads need to
// wake each other once, which is what the relay cannot do without: one eventfd more on the way
// there and one on the way back.
#include <linux/virtio_blk.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/echo_device.hpp"
#include "tests/bench/vcpu_returns.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/datapath/personality/block.hpp"
#include "vdpa/datapath/relay_thread.hpp"

namespace viaduct::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr std::uint16_t ring_size = 64;
constexpr std::uint32_t read_bytes = 4096;
constexpr unsigned requests_per_run = 400;

/// Does one request after the other and tells how long each took.
class Journey {
public:
    Journey() = default;
    Journey(const Journey&) = delete;
    Journey& operator=(const Journey&) = delete;
    virtual ~Journey() = default;
    virtual void go_once() = 0;
};

/// Two threads wake each other once.
class TwoHops : public Journey {
public:
    void go_once() override {
        there_.event().signal();
        back_wait_.wait();
    }

private:
    EventFd back_;
    EdgeWait back_wait_{back_};
    Woken there_{[this] { back_.signal(); }};
};

/// A driver's request of three descriptors in an indirect table, as a disk's are.
class Driver {
public:
    Driver() {
        const Iova header = memory_.allocate(sizeof(virtio_blk_outhdr), 16);
        memory_.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0});
        request_ = {test::Buffer{header, sizeof(virtio_blk_outhdr), false},
                    test::Buffer{memory_.allocate(read_bytes), read_bytes, true},
                    test::Buffer{memory_.allocate(1), 1, true}};
        table_ = memory_.allocate(request_.size() * sizeof(virtio::Descriptor), 16);
    }

    [[nodiscard]] const AddressSpace& memory() const { return memory_.space(); }
    [[nodiscard]] const test::RingDriver& ring() const { return ring_; }

    void request(const EventFd& kick) {
        ring_.add_indirect(request_, table_);
        if (ring_.publish()) kick.signal();
        const auto used = ring_.wait_used();
        if (!used || used->length != read_bytes + 1) throw Error("a request did not come back");
    }

private:
    test::GuestMemory memory_;
    test::RingDriver ring_{memory_, ring_size};
    std::array<test::Buffer, 3> request_;
    Iova table_;
};

class Direct : public Journey {
public:
    void go_once() override { driver_.request(device_.kick()); }

private:
    Driver driver_;
    EchoDevice device_{driver_.ring().ring(), driver_.ring().call_event(), read_bytes + 1};
};

/// This thread, and those that are made while this lives, run on one CPU.
class OnCpu {
public:
    explicit OnCpu(int cpu, int policy = SCHED_OTHER) {
        if (::sched_getaffinity(0, sizeof before_, &before_) != 0) {
            throw SystemError("sched_getaffinity");
        }
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<std::size_t>(cpu), &one);
        set(one, policy);
    }
    OnCpu(const OnCpu&) = delete;
    OnCpu& operator=(const OnCpu&) = delete;
    ~OnCpu() {
        try {
            set(before_, policy_before_);
        } catch (const SystemError&) {
            // What was allowed before is allowed again.
        }
    }

private:
    static void set(const cpu_set_t& cpus, int policy) {
        const sched_param parameters{};
        if (::sched_setaffinity(0, sizeof cpus, &cpus) != 0 ||
            ::sched_setscheduler(0, policy, &parameters) != 0) {
            throw SystemError("setting a thread's CPU and policy");
        }
    }

    cpu_set_t before_{};
    int policy_before_ = ::sched_getscheduler(0);
};

/// The CPUs that may be used: the first and the last.
std::pair<int, int> two_cpus() {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        throw SystemError("sched_getaffinity");
    }
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) cpus.push_back(cpu);
    }
    if (cpus.size() < 2) throw Error("this benchmark needs two CPUs");
    return {cpus.front(), cpus.back()};
}

class Relayed : public Journey {
public:
    /// `cpu`: of the relay's thread.
    Relayed(microseconds longest_poll, int cpu)
        : relays_place_(std::in_place, cpu, ::sched_getscheduler(0)),
          relay_({.memory = driver_.memory(),
                  .guest_ring = driver_.ring().ring(),
                  .base = {},
                  .shadow = shadow_queue_,
                  .event_idx = true,
                  .indirect = true,
                  .personality = &datapath::block_personality,
                  .guest_call = driver_.ring().call_event(),
                  .device_kick = device_.kick(),
                  .statistics = statistics_},
                 {.name = "benchmark",
                  .guest_kick = driver_.ring().kick_event(),
                  .device_call = device_call_,
                  .longest_poll = longest_poll,
                  .on_guest_fault = {},
                  .on_device_fault = {}}) {
        relays_place_.reset();
    }

    void go_once() override { driver_.request(driver_.ring().kick_event()); }

private:
    Driver driver_;
    datapath::ShadowMemory shadow_{
        std::array{ring_size}, vdpa::IovaRange{Iova{0}, Iova{~std::uint64_t{0}}}, driver_.memory()};
    datapath::ShadowQueue shadow_queue_ = shadow_.lay_out(0, ring_size);
    datapath::QueueStatistics statistics_;
    EventFd device_call_;
    EchoDevice device_{shadow_queue_.ring, device_call_, read_bytes + 1};
    std::optional<OnCpu> relays_place_;
    datapath::RelayThread relay_;  // last: ends before what it stands between
};

/// In the order of contestants().
constexpr std::size_t two_hops = 0;
constexpr std::size_t no_relay = 1;
constexpr std::ptrdiff_t first_relay = 2;

struct Contestant {
    std::string label;
    std::unique_ptr<Journey> journey;
    std::vector<double> times = {};      // us
    std::vector<double> relay_cpu = {};  // us per request
};

void run_once(Contestant& contestant) {
    const std::uint64_t cpu = cpu_time_of_threads(::getpid(), "relay");
    for (unsigned i = 0; i < requests_per_run; ++i) {
        const auto start = Clock::now();
        contestant.journey->go_once();
        contestant.times.push_back(
            std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    }
    // The other relays sleep.
    contestant.relay_cpu.push_back(
        static_cast<double>(cpu_time_of_threads(::getpid(), "relay") - cpu) / 1e3 /
        requests_per_run);
}

std::vector<Contestant> contestants(int relays_cpu, std::initializer_list<unsigned> polls) {
    std::vector<Contestant> all;
    all.push_back({"two eventfd hops", std::make_unique<TwoHops>()});
    all.push_back({"no relay", std::make_unique<Direct>()});
    for (const unsigned poll : polls) {
        all.push_back({fmt::format("relay, poll-us={}", poll),
                       std::make_unique<Relayed>(microseconds(poll), relays_cpu)});
    }
    return all;
}

std::vector<Contestant> measure(Report& report, const std::string& where, int relays_cpu,
                                unsigned runs, std::initializer_list<unsigned> polls) {
    auto all = contestants(relays_cpu, polls);
    for (Contestant& one : all) {  // not counted
        run_once(one);
        one.times.clear();
        one.relay_cpu.clear();
    }
    for (unsigned run = 0; run < runs; ++run) {
        for (Contestant& one : all) run_once(one);
    }
    for (const Contestant& one : all) {
        report.series.push_back({"time of a request, " + where, one.label, "us", one.times});
    }
    for (auto relay = all.begin() + first_relay; relay != all.end(); ++relay) {
        report.series.push_back(
            {"relay's CPU per request, " + where, relay->label, "us", relay->relay_cpu});
    }
    return all;
}

/// Of each run by itself: what else the machine does changes from run to run.
void add_bar(Report& report, const std::vector<Contestant>& all) {
    const auto p50 = [&](std::size_t which, std::size_t run) {
        const auto first =
            all[which].times.begin() + static_cast<std::ptrdiff_t>(run * requests_per_run);
        return Series{{}, {}, {}, {first, first + requests_per_run}}.median();
    };
    Series ratio{"added over two eventfd hops", all[first_relay].label, "x", {}};
    for (std::size_t run = 0; run < all[first_relay].relay_cpu.size(); ++run) {
        ratio.samples.push_back((p50(first_relay, run) - p50(no_relay, run)) / p50(two_hops, run));
    }
    report.bars.push_back({"added by the relay over two eventfd hops, p50, taking turns",
                           ratio.median(), Bar::Bound::at_most, 1.3, "x"});
    report.series.push_back(std::move(ratio));
}

}  // namespace

Report relay_latency(unsigned runs) {
    Report report{"relay-latency", "What a relay adds to a request at queue depth 1", {}, {}, {}};
    report.notes = {
        fmt::format("Runs of {} reads of 4 KiB, three descriptors in an indirect table, in turn.",
                    requests_per_run),
        "Driver and device are threads of the host that sleep between requests. Taking turns: all",
        "on one CPU, where nobody preempts. Relay apart: it alone is on another CPU."};
    const auto [first, last] = two_cpus();
    {
        // Nobody preempts whom it wakes: each hop is one change of threads, no more and no less.
        // Otherwise it is the scheduler's mood whether somebody who is about to sleep has to be run
        // once more for that.
        const OnCpu together(first, SCHED_BATCH);
        add_bar(report, measure(report, "taking turns", first, runs, {0, 20, 100}));
    }
    const OnCpu most(first);
    measure(report, "relay apart", last, runs, {0, 20, 100});
    return report;
}

}  // namespace viaduct::bench
