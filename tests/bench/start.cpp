#include <array>

#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/private_memory.hpp"
#include "tests/bench/timed_child.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::bench {
namespace {

constexpr std::uint64_t mebibyte = 1U << 20;
constexpr std::uint64_t guest_memory = 128 * mebibyte;
constexpr int probe_passed = 33;
constexpr unsigned memory_runs = 3;

Command viaduct_command(const std::string& append) {
    return {test::viaduct_program(),
            "run",
            "--kernel",
            test::probe_image(),
            "--append",
            append,
            "--memory",
            "128M",
            "--cpus",
            "1",
            "--debug-exit"};
}

/// QEMU at its quickest: the machine without all that this guest does not use (ACPI alone costs it
/// a quarter of its CPU time), and the firmware that starts a kernel soonest.
Command qemu_command(const std::string& append) {
    const std::string machine =
        "microvm,pit=off,pic=off,rtc=off,acpi=off,usb=off,auto-kernel-cmdline=off,"
        "x-option-roms=off";
    // arch-capabilities: not every host lets QEMU set that register.
    return {"qemu-system-x86_64",
            "-M",
            machine,
            "-accel",
            "kvm",
            "-cpu",
            "host,arch-capabilities=off",
            "-smp",
            "1",
            "-m",
            "128M",
            "-bios",
            "/usr/share/qemu/qboot.rom",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel",
            test::probe_image(),
            "-append",
            append};
}

struct Vmm {
    std::string name;
    Command (*command)(const std::string& append);
    std::vector<double> first_io;  // ms
    std::vector<double> exit;      // ms
    std::vector<double> cpu_time;  // ms
    std::vector<double> memory;    // MiB
};

void time_one(Vmm& vmm) {
    TimedChild child(vmm.command("scenario=hello"));
    const int status = child.wait();
    if (status != probe_passed || child.output().find("PASS hello") == std::string::npos) {
        throw Error("{} ended with status {} instead of {}; it said: {}", vmm.name, status,
                    probe_passed, child.output());
    }
    vmm.first_io.push_back(child.first_output().count());
    vmm.exit.push_back(child.lifetime().count());
    vmm.cpu_time.push_back(child.cpu_time().count());
}

void weigh_one(Vmm& vmm) {
    TimedChild child(vmm.command("scenario=spin"));
    child.wait_for_output("tick 5\n");
    vmm.memory.push_back(static_cast<double>(private_memory(child.pid(), guest_memory)) / mebibyte);
}

}  // namespace

Report start(unsigned runs) {
    std::array<Vmm, 2> vmms{Vmm{"viaduct", viaduct_command, {}, {}, {}, {}},
                            Vmm{"QEMU microvm", qemu_command, {}, {}, {}, {}}};
    for (Vmm& vmm : vmms) {  // from the disk into the page cache
        Vmm warm_up = vmm;
        time_one(warm_up);
    }
    for (unsigned run = 0; run < runs; ++run) {
        for (Vmm& vmm : vmms) time_one(vmm);
    }
    for (unsigned run = 0; run < memory_runs; ++run) {
        for (Vmm& vmm : vmms) weigh_one(vmm);
    }
    Report report{"start", "Start-up of viaduct and of QEMU on the same PVH guest", {}, {}, {}};
    report.notes = {
        "One vCPU, 128 MiB. Runs alternate; one of each before that, not counted.",
        "First I/O: from posix_spawn to the first byte of the guest on the VMM's output.",
        "Own memory: private pages without the guest's memory, guest idle for 0.5 s."};
    for (const Vmm& vmm : vmms) {
        report.series.push_back({"exec to the guest's first I/O", vmm.name, "ms", vmm.first_io});
    }
    for (const Vmm& vmm : vmms) {
        report.series.push_back({"exec to the VMM's exit", vmm.name, "ms", vmm.exit});
    }
    for (const Vmm& vmm : vmms) {
        report.series.push_back({"CPU time, guest included", vmm.name, "ms", vmm.cpu_time});
    }
    for (const Vmm& vmm : vmms) {
        report.series.push_back({"own memory", vmm.name, "MiB", vmm.memory});
    }
    const auto& series = report.series;
    using enum Bar::Bound;
    report.bars = {{"first I/O, viaduct's median over QEMU's",
                    series[0].median() / series[1].median(), at_most, 0.35, "x"},
                   {"viaduct's own memory", series[6].max(), at_most, 5, "MiB"}};
    return report;
}

}  // namespace viaduct::bench
