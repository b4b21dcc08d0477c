/// The memory that a VMM costs beside its guest's.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace viaduct::bench {

/// Bytes in pages that no other process maps (Private_Clean and Private_Dirty of smaps), without
/// the one mapping that is as large as the guest's memory. Throws Error when there is not exactly
/// one.
std::uint64_t private_memory(pid_t process, std::uint64_t guest_memory);

}  // namespace viaduct::bench
