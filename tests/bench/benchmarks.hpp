/// The benchmarks by name. Each measures, and says what it found; it throws Error when it cannot.
#pragma once

#include <cstdint>

#include "tests/bench/report.hpp"

namespace viaduct::bench {

/// From exec to the guest's first output and to the end, and the VMM's own memory: beside QEMU.
Report start(unsigned runs);

/// What reads from kernel devices cost the VMM: nothing. For the lab. The guest does `guest_reads`,
/// of which 10,001 are watched; the rest are there so that they do not end before the watching
/// does.
Report fast(std::uint64_t guest_reads);

/// Chains that a relay of the slow path carries in a second.
Report relay(unsigned runs);

/// What a relay adds to a request's time at queue depth 1, and the CPU time that it takes.
Report relay_latency(unsigned runs);

/// The embedded disk's engine beside fio's io_uring on the same file, `runs` times at each
/// workload.
Report engine(unsigned runs);

/// What a switch of the data path costs: `runs` switches to and fro, on the embedded device.
Report switch_natively(unsigned runs);
/// The same on the kernel's devices. For the lab.
Report switch_in_lab(unsigned runs);

/// fio in a Linux guest, `runs` times each: both paths, polling, and QEMU's virtio-blk. For the
/// lab.
Report io(unsigned runs);

/// fio on disks that viaduct-export and qemu-storage-daemon make of files, `runs` times each: on
/// the host and in a guest, with the daemon's CPU time. For the lab.
Report exported(unsigned runs);

}  // namespace viaduct::bench
