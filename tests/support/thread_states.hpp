/// What the threads of a process are doing right now, for the report of a test in which something
/// stands still: where each waits in the kernel, and what its io_urings and the host's disks have
/// in flight.
#pragma once

#include <sys/types.h>

#include <string>

namespace viaduct::test {

[[nodiscard]] std::string thread_states(pid_t pid);

}  // namespace viaduct::test
