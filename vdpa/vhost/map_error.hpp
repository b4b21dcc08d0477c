/// Why guest memory cannot be given to a kernel device. vhost reports every mapping error as
/// EFAULT, or not at all, so the reasons are looked for here.
#pragma once

#include <span>
#include <string>

#include "base/address_space.hpp"

namespace viaduct::vhost {

/// Throws Error unless the region is shared file memory: parents that work with user addresses
/// (VDUSE, the simulators) skip private and anonymous memory and report success.
void refuse_private_memory(const std::string& device, const MemoryRegion& region);

/// The operator's text for a failed IOTLB update: the bytes needed, the limit that is too low
/// (RLIMIT_MEMLOCK, or the module's max_iotlb_entries) and how to raise it.
std::string explain_map_error(const std::string& device, std::span<const MemoryRegion> regions,
                              int error);

}  // namespace viaduct::vhost
