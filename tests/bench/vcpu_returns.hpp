/// Counts how often a process's vCPU threads come back from a system call: KVM_RUN is the one they
/// are in. By the tracepoint raw_syscalls:sys_exit, so it needs root and tracefs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace viaduct::bench {

/// While the count stands still, these threads have not executed one instruction outside KVM_RUN.
class VcpuReturns {
public:
    /// Counts from here on. Threads are the vCPUs' when they are named so ("vcpu-N").
    explicit VcpuReturns(pid_t vmm);

    [[nodiscard]] std::uint64_t count() const;

private:
    std::vector<Fd> counters_;
};

/// CPU time so far of all threads but the vCPUs', in nanoseconds.
std::uint64_t cpu_time_beside_vcpus(pid_t vmm);

/// The same of the threads of one name.
std::uint64_t cpu_time_of_threads(pid_t process, const std::string& name);

}  // namespace viaduct::bench
