/// The guest's RAM: one memfd, mapped MAP_SHARED in one piece (vhost-vdpa sees nothing else), and
/// its regions at their guest physical addresses. Fresh memory is zero and takes no host memory
/// until it is touched, but for huge pages, which are set aside at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "base/fd.hpp"
#include "base/mapping.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::vmm {

enum class PageSize { small, huge };

class GuestMemory {
public:
    /// Regions one after the other in the memfd. Throws Error when the host has too few huge pages,
    /// or too little memory, saying how many are needed and how to get them.
    GuestMemory(std::span<const firmware::MemoryRange> ranges, PageSize page_size);

    /// As devices and loaders see it: IOVA = guest physical address.
    [[nodiscard]] const AddressSpace& address_space() const noexcept { return address_space_; }
    [[nodiscard]] bool overlaps(Gpa address, std::uint64_t size) const noexcept;

private:
    Fd memfd_;
    Mapping mapping_;
    AddressSpace address_space_;
};

}  // namespace viaduct::vmm
