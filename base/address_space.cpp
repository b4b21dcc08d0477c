#include "base/address_space.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace viaduct {
namespace {

bool starts_before(const MemoryRegion& region, Iova iova) {
    return region.iova < iova;
}

}  // namespace

void AddressSpace::map(const MemoryRegion& region) {
    if (region.bytes.empty() || region.end() < region.iova.value) {
        throw Error("memory region at {:#x} with {:#x} bytes is empty or wraps", region.iova.value,
                    region.bytes.size());
    }
    auto next = std::lower_bound(regions_.begin(), regions_.end(), region.iova, starts_before);
    const bool hits_next = next != regions_.end() && next->iova.value < region.end();
    const bool hits_previous =
        next != regions_.begin() && std::prev(next)->end() > region.iova.value;
    if (hits_next || hits_previous) {
        throw Error("memory region at {:#x} with {:#x} bytes overlaps another", region.iova.value,
                    region.bytes.size());
    }
    regions_.insert(next, region);
}

void AddressSpace::unmap(Iova iova) {
    auto found = std::lower_bound(regions_.begin(), regions_.end(), iova, starts_before);
    if (found == regions_.end() || found->iova != iova) return;
    regions_.erase(found);
}

const MemoryRegion* AddressSpace::region_at(Iova iova, std::uint64_t length) const noexcept {
    for (const MemoryRegion& region : regions_) {
        if (iova < region.iova || iova.value >= region.end()) continue;
        const std::uint64_t offset = iova.value - region.iova.value;
        return length != 0 && length <= region.bytes.size() - offset ? &region : nullptr;
    }
    return nullptr;
}

std::span<std::byte> AddressSpace::find(Iova iova, std::uint64_t length) const noexcept {
    const MemoryRegion* region = region_at(iova, length);
    if (region == nullptr) return {};
    return region->bytes.subspan(iova.value - region->iova.value, length);
}

std::span<std::byte> AddressSpace::find_writable(Iova iova, std::uint64_t length) const noexcept {
    const MemoryRegion* region = region_at(iova, length);
    if (region == nullptr || !region->writable) return {};
    return region->bytes.subspan(iova.value - region->iova.value, length);
}

}  // namespace viaduct
