/// The memory that the driver lets a VDUSE device reach, mapped into this process: with vhost-vdpa
/// the machine's own memory, file by file, so that nothing is copied; with virtio-vdpa the kernel's
/// bounce area and its rings.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "base/mapping.hpp"
#include "vdpa/export/lent_memory.hpp"
#include "vdpa/export/vduse_node.hpp"

namespace viaduct::vduse {

class DriverMemory {
public:
    /// Maps all of it as it is now. `bounce_bytes`: the size of the kernel's bounce area, which it
    /// tells of only once it has used it; it begins at 0. Throws Error when a piece makes no sense
    /// or cannot be mapped.
    DriverMemory(Node& node, std::uint64_t bounce_bytes);

    [[nodiscard]] std::span<const MemoryRegion> regions() const noexcept { return regions_; }

private:
    void add(const Fd& file, std::uint64_t offset, Iova first, Iova last, bool writable);

    std::vector<Mapping> mappings_;
    std::vector<LentMemory> lent_;  // each of them
    std::vector<MemoryRegion> regions_;
};

}  // namespace viaduct::vduse
