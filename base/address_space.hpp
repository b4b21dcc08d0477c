/// What a device may reach: I/O virtual addresses to host memory. The one lookup that rings,
/// engines and loaders use (a vIOMMU or memory hotplug would stand here).
///
/// Regions never overlap and are always backed by shared file memory (memfd), because vhost-vdpa
/// parents that work with user addresses silently skip private memory. Lookups are lock-free: the
/// set of regions changes only while no device runs.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/address.hpp"

namespace viaduct {

struct MemoryRegion {
    Iova iova;
    std::span<std::byte> bytes;
    bool writable = true;

    [[nodiscard]] std::uint64_t end() const noexcept { return iova.value + bytes.size(); }
};

class AddressSpace {
public:
    /// Throws Error when the region is empty, wraps or overlaps another.
    void map(const MemoryRegion& region);
    /// Takes out the region that starts at `iova`.
    void unmap(Iova iova);

    /// The host memory of [iova, iova + length), or an empty span when any byte of it is not mapped
    /// in one region, when the sum wraps, or when length is 0.
    [[nodiscard]] std::span<std::byte> find(Iova iova, std::uint64_t length) const noexcept;
    /// The same, where a device may write.
    [[nodiscard]] std::span<std::byte> find_writable(Iova iova,
                                                     std::uint64_t length) const noexcept;

    [[nodiscard]] std::span<const MemoryRegion> regions() const noexcept { return regions_; }

private:
    [[nodiscard]] const MemoryRegion* region_at(Iova iova, std::uint64_t length) const noexcept;

    std::vector<MemoryRegion> regions_;  // sorted by iova
};

}  // namespace viaduct
