// fio on VDUSE disks, ours beside qemu-storage-daemon's, each on a file of its own in memory: on
// the host, over virtio-vdpa, and in a stock Linux guest, over vhost-vdpa. They take turns, so that
// whatever else the machine does falls on both.
#include <ctime>
#include <map>

#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/fio.hpp"
#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/linux_guest.hpp"

namespace viaduct::bench {
namespace {

using test::ExportedDisk;
using test::LabDevice;
using test::LinuxGuest;

constexpr std::uint64_t exported_bytes = 64U << 20;

std::vector<Workload> exported_workloads() {
    std::vector<Workload> all;
    for (const unsigned depth : {1U, 8U, 32U}) {
        all.push_back({"4 KiB random read", "randread", 4, depth});
        all.push_back({"4 KiB random write", "randwrite", 4, depth});
    }
    return all;
}

/// A disk, from the side that uses it, and what was measured on it by workload.
struct ServedDisk {
    std::string label;
    LinuxGuest* guest;  // null: this host uses it
    std::string path;
    pid_t daemon;
    std::map<std::string, std::vector<double>> rates = {};  // requests in a second
    std::map<std::string, std::vector<double>> cpu = {};    // us per request, the daemon's
};

std::string outcome_of_fio(const ServedDisk& disk, const Workload& workload) {
    const std::string command = fio_command(disk.path, workload);
    if (disk.guest != nullptr) return disk.guest->sh(command).out;
    return test::run({"bash", "-c", command}).out;
}

/// CPU time so far in nanoseconds, that of threads that have ended included.
std::uint64_t cpu_time_of(pid_t process) {
    clockid_t clock{};
    timespec time{};
    const int failed = ::clock_getcpuclockid(process, &clock);
    if (failed != 0 || ::clock_gettime(clock, &time) != 0) {
        throw Error("the daemon has no CPU clock: has it ended?");
    }
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
}

void measure(ServedDisk& disk, const Workload& workload) {
    const std::uint64_t before = cpu_time_of(disk.daemon);
    const Rate rate = parse_fio(outcome_of_fio(disk, workload), workload);
    const auto nanoseconds = static_cast<double>(cpu_time_of(disk.daemon) - before);
    disk.rates[workload.title()].push_back(rate.per_second);
    disk.cpu[workload.title()].push_back(nanoseconds / 1e3 / rate.requests);
}

/// Ours over theirs, run by run.
Series ratio_of(const std::string& what, const std::string& label, const std::vector<double>& ours,
                const std::vector<double>& theirs) {
    Series ratio{what, label, "x", {}};
    for (std::size_t run = 0; run < ours.size(); ++run) {
        ratio.samples.push_back(ours[run] / theirs[run]);
    }
    return ratio;
}

void add_results(Report& report, const std::string& bus, const ServedDisk& ours,
                 const ServedDisk& theirs, const Workload& workload) {
    const std::string title = workload.title();
    for (const ServedDisk* disk : {&ours, &theirs}) {
        report.series.push_back({title, disk->label, "IOPS", disk->rates.at(title)});
        report.series.push_back(
            {"daemon CPU: " + title, disk->label, "us/request", disk->cpu.at(title)});
    }
    const Series rates =
        ratio_of("IOPS: " + title, bus, ours.rates.at(title), theirs.rates.at(title));
    const Series cpu = ratio_of("CPU: " + title, bus, ours.cpu.at(title), theirs.cpu.at(title));
    report.bars.push_back({fmt::format("{}: {}: IOPS over qemu-storage-daemon's", bus, title),
                           rates.median(), Bar::Bound::at_least, 1.0, "x"});
    report.bars.push_back({fmt::format("{}: {}: CPU over qemu-storage-daemon's", bus, title),
                           cpu.median(), Bar::Bound::at_most, 0.6, "x"});
}

pid_t daemon_of(const LabDevice& device) {
    const auto outcome = test::run({"cat", "/run/viaduct/" + device.name() + ".pid"});
    return std::stoi(outcome.out);
}

/// Gives a device to virtio-vdpa; the disk that becomes of it.
std::string disk_of_this_host(const LabDevice& device) {
    const auto bound = test::run({VIADUCT_CTL, "devices", "bind", device.name(), "virtio"});
    const auto found =
        test::run({"bash", "-c", "ls /sys/bus/vdpa/devices/" + device.name() + "/virtio*/block"});
    if (bound.status != 0 || found.status != 0) {
        throw Error("{} is no disk: {}{}", device.name(), bound.err, found.err);
    }
    return "/dev/" + found.out.substr(0, found.out.find('\n'));
}

}  // namespace

Report exported(unsigned runs) {
    const test::TemporaryDirectory directory;
    const auto image = [&](const std::string& name) {
        std::string path = directory.path(name + ".raw");
        test::make_pattern_image(path, exported_bytes);
        return path;
    };
    const ExportedDisk our_host_disk("ours-host", image("ours-host"), {"--attach", "virtio"});
    const ExportedDisk our_guest_disk("ours-guest", image("ours-guest"));
    const auto their_host_disk = LabDevice::vduse("qsd-host", image("qsd-host"), {"--direct"});
    const auto their_guest_disk = LabDevice::vduse("qsd-guest", image("qsd-guest"), {"--direct"});
    const std::string their_host_path = disk_of_this_host(their_host_disk);
    LinuxGuest guest({.devices = {our_guest_disk.option(), their_guest_disk.option()}});
    ServedDisk ours_on_host{"viaduct-export, virtio-vdpa", nullptr, our_host_disk.node(),
                            our_host_disk.pid()};
    ServedDisk theirs_on_host{"qemu-storage-daemon, virtio-vdpa", nullptr, their_host_path,
                              daemon_of(their_host_disk)};
    ServedDisk ours_in_guest{"viaduct-export, vhost-vdpa", &guest, "/dev/vda",
                             our_guest_disk.pid()};
    ServedDisk theirs_in_guest{"qemu-storage-daemon, vhost-vdpa", &guest, "/dev/vdb",
                               daemon_of(their_guest_disk)};
    const std::vector<Workload> all = exported_workloads();
    for (unsigned run = 0; run < runs; ++run) {
        for (const Workload& workload : all) {
            for (ServedDisk* disk :
                 {&ours_on_host, &theirs_on_host, &ours_in_guest, &theirs_in_guest}) {
                measure(*disk, workload);
            }
        }
    }
    Report report{
        "export", "fio on VDUSE disks: viaduct-export and qemu-storage-daemon", {}, {}, {}};
    report.notes = {
        "In the lab, whose one CPU is emulated: the ratios say something, the rates do not.",
        "Raw files in memory, direct I/O on both sides, one queue of 256 entries.",
        "virtio-vdpa: fio on the host. vhost-vdpa: fio in a Linux guest with one vCPU."};
    for (const Workload& workload : all) {
        add_results(report, "virtio-vdpa", ours_on_host, theirs_on_host, workload);
        add_results(report, "vhost-vdpa", ours_in_guest, theirs_in_guest, workload);
    }
    return report;
}

}  // namespace viaduct::bench
