#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/vcpu_returns.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/vmm_observation.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::bench {
namespace {

using Counts = std::map<std::string, std::uint64_t>;
using test::LabDevice;
using test::Seconds;

constexpr std::uint64_t reads_watched = 10'001;
/// For the slowest of machines; usually it is a fraction of that.
constexpr auto patience = Seconds(240);

struct Window {
    std::uint64_t reads = 0;  // the guest's doorbells at depth 1: no more than its reads
    double seconds = 0;
    Counts exits;                    // KVM's mmio_exits and io_exits
    std::uint64_t switches = 0;      // of the threads but the vCPUs'
    std::uint64_t vcpu_returns = 0;  // of KVM_RUN
    double cpu_milliseconds = 0;     // of the threads but the vCPUs'
    std::string guest_says;          // its own count and time of all its reads
};

std::uint64_t sum(const Counts& counts) {
    std::uint64_t total = 0;
    for (const auto& [name, count] : counts) total += count;
    return total;
}

/// The largest growth of any eventfd: the queue's kick.
std::uint64_t kicks_since(const Counts& before, pid_t vmm) {
    std::uint64_t most = 0;
    for (const auto& [fd, count] : test::eventfd_counts(vmm)) {
        const auto old = before.find(fd);
        if (old != before.end()) most = std::max(most, count - old->second);
    }
    return most;
}

void watch_reads(Window& window, pid_t vmm) {
    const auto start = std::chrono::steady_clock::now();
    const Counts kicks = test::eventfd_counts(vmm);
    while (window.reads < reads_watched) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        window.reads = kicks_since(kicks, vmm);
        window.seconds = Seconds(std::chrono::steady_clock::now() - start).count();
        if (window.seconds > patience.count()) {
            throw Error("the guest did {} reads in {:.0f} s, {} were needed", window.reads,
                        window.seconds, reads_watched);
        }
    }
}

/// Between the two looks at the threads nobody speaks to the VMM; the exits are asked for outside.
void measure(Window& window, pid_t vmm, tests::QmpClient& qmp) {
    const Counts exits = test::exits_to_vmm(qmp);
    const std::uint64_t switches = sum(test::context_switches(vmm));
    const std::uint64_t cpu = cpu_time_beside_vcpus(vmm);
    const VcpuReturns returns(vmm);
    watch_reads(window, vmm);
    window.vcpu_returns = returns.count();
    window.cpu_milliseconds = static_cast<double>(cpu_time_beside_vcpus(vmm) - cpu) / 1e6;
    window.switches = sum(test::context_switches(vmm)) - switches;
    for (const auto& [name, count] : test::exits_to_vmm(qmp)) {
        window.exits[name] = count - exits.at(name);
    }
}

/// The window opens after the first read and closes before the last: nothing else happens in it.
Window watch_guest(const LabDevice& device, std::uint64_t guest_reads) {
    test::TemporaryDirectory directory;
    const std::string socket = directory.path("qmp");
    test::Process vmm({test::viaduct_program(), "run", "--kernel", test::probe_image(), "--append",
                       fmt::format("scenario=io-rate count={}", guest_reads), "--memory", "128M",
                       "--debug-exit", "--device", device.option(), "--qmp", "unix:" + socket},
                      patience * 2);
    tests::QmpClient qmp(socket);
    qmp.negotiate();
    if (!vmm.wait_for_output("first read done\n", patience)) {
        throw Error("the guest does not read from {}: {}{}", device.name(), vmm.out(), vmm.err());
    }
    Window window;
    measure(window, vmm.pid(), qmp);
    if (vmm.out().find("us-per-read") != std::string::npos) {
        throw Error(
            "the guest was through with its {} reads before the end was measured: it is too "
            "quick here, give bench::fast() in tests/bench/main.cpp more of them",
            guest_reads);
    }
    const test::Outcome outcome = vmm.wait();
    const auto line = outcome.out.find("io-rate reads=");
    if (outcome.status != 33 || line == std::string::npos) {
        throw Error("the guest failed with status {}: {}{}", outcome.status, outcome.out,
                    outcome.err);
    }
    window.guest_says = outcome.out.substr(line, outcome.out.find('\n', line) - line);
    return window;
}

void add(Report& report, const std::string& device, const Window& window) {
    const auto reads = static_cast<double>(window.reads);
    const auto row = [&](const std::string& what, const std::string& unit, double value) {
        report.series.push_back({what, device, unit, {value}});
    };
    row("reads watched", "reads", reads);
    row("time for a read", "us", window.seconds * 1e6 / reads);
    const auto bar = [&](const std::string& what, auto value, Bar::Bound bound, double limit,
                         const std::string& unit) {
        report.bars.push_back(
            {device + ": " + what, static_cast<double>(value), bound, limit, unit});
    };
    using enum Bar::Bound;
    bar("guest reads from the kernel's device", reads, at_least, reads_watched, "reads");
    bar("MMIO exits to the VMM", window.exits.at("mmio_exits"), at_most, 0, "exits");
    bar("PIO exits to the VMM", window.exits.at("io_exits"), at_most, 0, "exits");
    bar("context switches of its other threads", window.switches, at_most, 0, "switches");
    bar("CPU time of its other threads", window.cpu_milliseconds, at_most, 1, "ms");
    bar("returns of KVM_RUN", window.vcpu_returns, at_most, 0, "returns");
    report.notes.push_back(device + ": the guest's own account: " + window.guest_says);
}

}  // namespace

Report fast(std::uint64_t guest_reads) {
    Report report{"fast", "What reads from kernel devices cost the VMM", {}, {}, {}};
    report.notes = {"One vCPU reads 4 KiB at a time at queue depth 1, completion by MSI-X."};
    {
        const auto device = LabDevice::simulated_disk("benchsim");
        add(report, "vdpa_sim_blk", watch_guest(device, guest_reads));
    }
    {
        test::TemporaryDirectory directory;
        const std::string image = directory.path("disk.raw");
        test::make_pattern_image(image, 16U << 20);
        const auto device = LabDevice::vduse("benchvduse", image);
        add(report, "VDUSE", watch_guest(device, guest_reads));
    }
    std::stable_sort(report.series.begin(), report.series.end(),
                     [](const Series& a, const Series& b) { return a.group < b.group; });
    return report;
}

}  // namespace viaduct::bench
