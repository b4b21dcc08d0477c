/// What a running VMM does, seen from outside: its exits from KVM, its threads' context switches,
/// the notifications it was sent, and what it has mapped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "tests/qmp_client.hpp"

namespace viaduct::test {

/// KVM's counters of exits to user space, all vCPUs together: "mmio_exits", "io_exits".
std::map<std::string, std::uint64_t> exits_to_vmm(tests::QmpClient& qmp);

/// Context switches, voluntary or not, of every thread but the vCPUs', by "name/thread id", at a
/// moment when all of them sleep.
std::map<std::string, std::uint64_t> context_switches(pid_t vmm);

/// How many notifications lie in each of the process's eventfds, by "fd number". A guest's kicks
/// add up there: the device is told by the wake-up, and nobody takes them out.
std::map<std::string, std::uint64_t> eventfd_counts(pid_t vmm);

/// How many pages of the file the process has mapped. Of a vDPA device these are its doorbells.
std::size_t pages_mapped(pid_t vmm, const std::string& path);

}  // namespace viaduct::test
