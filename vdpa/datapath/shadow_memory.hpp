/// The memory of the slow path's own rings: a window of shared memory that the device reaches and
/// the guest cannot name, because the relay lets no address outside guest memory through. It is
/// made once, mapped once, and lies near the top of the device's address range, away from guest
/// memory.
///
/// Per queue: the split ring's three areas, and room for indirect tables. Only pages that are used
/// come into being, unless the device pins its memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "base/mapping.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/split_ring.hpp"
#include "vdpa/device.hpp"

namespace viaduct::datapath {

/// Indirect tables of one size, one after the other.
struct ShadowTables {
    Iova iova;
    std::span<std::byte> bytes;
    std::uint16_t entries = 0;  // descriptors in a table

    [[nodiscard]] Iova table_iova(std::size_t table) const noexcept {
        return iova + table * table_bytes();
    }
    [[nodiscard]] std::byte* table(std::size_t table) const noexcept {
        return bytes.data() + table * table_bytes();
    }
    [[nodiscard]] std::size_t count() const noexcept { return bytes.size() / table_bytes(); }

private:
    [[nodiscard]] std::size_t table_bytes() const noexcept {
        return sizeof(virtio::Descriptor) * entries;
    }
};

struct ShadowQueue {
    virtio::QueueSetup setup;
    virtio::SplitRing ring;
    ShadowTables small;  // one for each entry of the ring
    ShadowTables large;  // few, each for the longest chain

    /// Descriptors of the longest chain that may come in an indirect table.
    [[nodiscard]] std::uint16_t longest_chain() const noexcept { return large.entries; }
};

class ShadowMemory {
public:
    /// Room for rings of up to `queue_sizes` entries, which the device has at most. Throws Error
    /// when the device's address range has no room beside guest memory.
    ShadowMemory(std::span<const std::uint16_t> queue_sizes, vdpa::IovaRange range,
                 const AddressSpace& guest_memory);

    /// What the device is to be given.
    [[nodiscard]] MemoryRegion region() const noexcept { return region_; }
    /// The rings of a queue with `size` entries, all zero: indices, flags and events begin anew.
    /// `size` is a power of two, and at most what was said for this queue.
    [[nodiscard]] ShadowQueue lay_out(unsigned queue, std::uint16_t size);

private:
    std::vector<std::uint16_t> queue_sizes_;
    std::vector<std::uint64_t> offsets_;  // of each queue's room; one more for the end
    Mapping mapping_;
    MemoryRegion region_;
    AddressSpace space_;
};

}  // namespace viaduct::datapath
