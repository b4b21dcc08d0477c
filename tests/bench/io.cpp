// fio in a stock Linux guest in the lab, on the same file: over a vDPA device on both paths, the
// slow one with polling too, and over QEMU's own virtio-blk. Two guests run all the time, one under
// each VMM, and take turns, so that whatever else the machine does falls on all.
#include <chrono>
#include <map>

#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/fio.hpp"
#include "tests/bench/vcpu_returns.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/linux_guest.hpp"

namespace viaduct::bench {
namespace {

using test::GuestsVmm;
using test::LabDevice;
using test::LinuxGuest;

constexpr std::uint64_t image_bytes = 64U << 20;
constexpr unsigned poll_microseconds = 50;
constexpr unsigned measured_depth = 32;  // what the bar is about
constexpr unsigned more_pairs = 2;       // there, in each run

std::vector<Workload> workloads() {
    std::vector<Workload> all;
    for (const unsigned depth : {1U, 8U, measured_depth}) {
        all.push_back({"4 KiB random read", "randread", 4, depth});
        all.push_back({"4 KiB random write", "randwrite", 4, depth});
        all.push_back({"128 KiB sequential read", "read", 128, depth});
    }
    return all;
}

Rate run_fio(LinuxGuest& guest, const std::string& disk, const Workload& workload) {
    const auto answer = guest.sh(fio_command("/dev/" + disk, workload));
    if (answer.status != 0) {
        throw Error("fio in the guest: status {}: {}", answer.status, answer.out);
    }
    return parse_fio(answer.out, workload);
}

/// A way from a guest to a disk, and what was measured on it.
struct Way {
    std::string label;
    LinuxGuest& guest;
    std::string disk;  // in the guest
    std::string id;    // of the vDPA device; empty: it is QEMU's
    std::string path;  // of the data
    std::map<std::string, std::vector<double>> rates = {};      // by workload: requests in a second
    std::map<std::string, std::vector<double>> relay_cpu = {};  // us per request
};

void measure(Way& way, const Workload& workload) {
    if (!way.id.empty()) {
        (void)way.guest.qmp().execute("vdpa-set-datapath", {{"id", way.id}, {"mode", way.path}},
                                      std::chrono::seconds(60));
    }
    const std::uint64_t before = cpu_time_of_threads(way.guest.pid(), "relay");
    const Rate rate = run_fio(way.guest, way.disk, workload);
    way.rates[workload.title()].push_back(rate.per_second);
    if (way.path != "slow") return;
    // Those of other devices sleep meanwhile.
    const auto nanoseconds =
        static_cast<double>(cpu_time_of_threads(way.guest.pid(), "relay") - before);
    way.relay_cpu[workload.title()].push_back(nanoseconds / 1e3 / rate.requests);
}

void add_rates(Report& report, const std::vector<Way>& ways, const Workload& workload) {
    for (const Way& way : ways) {
        report.series.push_back(
            {workload.title(), way.label, "IOPS", way.rates.at(workload.title())});
    }
}

void add_relay_cpu(Report& report, const std::vector<Way>& ways, const Workload& workload) {
    for (const Way& way : ways) {
        const auto found = way.relay_cpu.find(workload.title());
        if (found == way.relay_cpu.end()) continue;
        report.series.push_back(
            {"relay CPU: " + workload.title(), way.label, "us/request", found->second});
    }
}

/// Of two ways of one device: each slow run beside the fast run just before it, for what else the
/// machine does changes from minute to minute.
void add_bar(Report& report, const Way& fast, const Way& slow, const Workload& workload) {
    const auto& before = fast.rates.at(workload.title());
    const auto& after = slow.rates.at(workload.title());
    Series ratio{"slow over fast: " + workload.title(), slow.label, "x", {}};
    for (std::size_t run = 0; run < after.size(); ++run) {
        ratio.samples.push_back(after[run] / before[run]);
    }
    report.bars.push_back({fmt::format("{}: {} over {}", workload.title(), slow.label, fast.label),
                           ratio.median(), Bar::Bound::at_least, 0.8, "x"});
    report.series.push_back(std::move(ratio));
}

}  // namespace

Report io(unsigned runs) {
    const test::TemporaryDirectory directory;
    const std::string image = directory.path("disk.raw");
    const std::string polled_image = directory.path("polled.raw");
    for (const auto& path : {image, polled_image}) test::make_pattern_image(path, image_bytes);
    const auto vduse = LabDevice::vduse("vduse", image);
    const auto polled = LabDevice::vduse("polled", polled_image);
    const auto simulated = LabDevice::simulated_disk("simulated");
    const std::string poll = fmt::format("poll-us={}", poll_microseconds);
    LinuxGuest viaduct({.devices = {vduse.option(), polled.option(poll), simulated.option()}});
    // The same file: only one of the two is at work at a time.
    LinuxGuest qemu(
        {.vmm = GuestsVmm::qemu,
         .qemu_arguments = {"-blockdev", "driver=file,node-name=file,locking=off,filename=" + image,
                            "-blockdev", "driver=raw,node-name=disk,file=file", "-device",
                            "virtio-blk-pci,drive=disk,num-queues=1"}});
    std::vector<Way> ways{{"VDUSE fast", viaduct, "vda", "vduse", "fast"},
                          {"VDUSE slow", viaduct, "vda", "vduse", "slow"},
                          {"VDUSE slow, " + poll, viaduct, "vdb", "polled", "slow"},
                          {"QEMU virtio-blk", qemu, "vda", "", ""},
                          {"vdpa_sim_blk fast", viaduct, "vdc", "simulated", "fast"},
                          {"vdpa_sim_blk slow", viaduct, "vdc", "simulated", "slow"}};
    const std::vector<Workload> all = workloads();
    for (unsigned run = 0; run < runs; ++run) {
        for (const Workload& workload : all) {
            for (Way& way : ways) measure(way, workload);
            if (workload.depth != measured_depth) continue;
            for (unsigned more = 0; more < more_pairs; ++more) {
                for (const std::size_t way : {0U, 1U, 4U, 5U}) measure(ways[way], workload);
            }
        }
    }
    Report report{"io", "fio in a Linux guest: both data paths and QEMU's virtio-blk", {}, {}, {}};
    report.notes = {
        "In the lab, whose one CPU is emulated: the ratios say something, the rates do not.",
        "One vCPU, one queue, direct I/O by libaio. The ways take turns at each workload.",
        "VDUSE: qemu-storage-daemon on a raw file in memory; QEMU's virtio-blk on the same file,",
        "polling on one like it; vdpa_sim_blk keeps its data in the kernel's memory."};
    for (const Workload& workload : all) add_rates(report, ways, workload);
    for (const Workload& workload : all) add_relay_cpu(report, ways, workload);
    for (const Workload& workload : all) {
        if (workload.depth != measured_depth) continue;
        add_bar(report, ways[0], ways[1], workload);
        add_bar(report, ways[4], ways[5], workload);
    }
    return report;
}

}  // namespace viaduct::bench
