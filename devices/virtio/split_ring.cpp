#include "devices/virtio/split_ring.hpp"

#include <cstring>

namespace viaduct::virtio {
namespace {

bool aligned(const std::byte* address, std::size_t alignment) noexcept {
    return reinterpret_cast<std::uintptr_t>(address) % alignment == 0;
}

}  // namespace

std::optional<SplitRing> SplitRing::find(const AddressSpace& memory,
                                         const QueueSetup& queue) noexcept {
    const std::uint16_t size = queue.size;
    if (!std::has_single_bit(size) || size > largest_size) return std::nullopt;
    SplitRing ring;
    ring.size_ = size;
    ring.descriptors_ = memory.find(queue.descriptors, descriptor_table_bytes(size)).data();
    ring.avail_ = memory.find(queue.driver_area, avail_bytes(size)).data();
    ring.used_ = memory.find_writable(queue.device_area, used_bytes(size)).data();
    const bool mapped =
        ring.descriptors_ != nullptr && ring.avail_ != nullptr && ring.used_ != nullptr;
    if (!mapped || !aligned(ring.descriptors_, 16) || !aligned(ring.avail_, 2) ||
        !aligned(ring.used_, 4)) {
        return std::nullopt;
    }
    return ring;
}

void SplitRing::set_used_entry(RingIndex index, UsedElement element) const noexcept {
    std::memcpy(used_ + 4 + sizeof element * index.slot(size_), &element, sizeof element);
}

UsedElement SplitRing::used_entry(RingIndex index) const noexcept {
    UsedElement element;
    std::memcpy(&element, used_ + 4 + sizeof element * index.slot(size_), sizeof element);
    return element;
}

Descriptor copy_descriptor(const std::byte* table, std::size_t slot) noexcept {
    Descriptor descriptor;
    std::memcpy(&descriptor, table + slot * sizeof descriptor, sizeof descriptor);
    // The compiler must not read the guest's memory a second time in place of the copy.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return descriptor;
}

const char* describe(RingFault fault) noexcept {
    switch (fault) {
        case RingFault::avail_index_jumped:
            return "the avail index is ahead by more than the ring";
        case RingFault::head_out_of_range:
            return "a head lies outside the descriptor table";
        case RingFault::head_in_flight:
            return "a head was made available while in flight";
        case RingFault::next_out_of_range:
            return "a chain leaves its descriptor table";
        case RingFault::chain_too_long:
            return "a chain loops or is longer than the ring allows";
        case RingFault::readable_after_writable:
            return "a chain has a readable buffer after a writable one";
        case RingFault::indirect_not_negotiated:
            return "an indirect table was used without VIRTIO_F_INDIRECT_DESC";
        case RingFault::indirect_with_next:
            return "a descriptor has both INDIRECT and NEXT";
        case RingFault::indirect_in_indirect:
            return "an indirect table names another one";
        case RingFault::indirect_bad_length:
            return "the length of an indirect table is no multiple of 16, or 0";
        case RingFault::indirect_not_mapped:
            return "an indirect table lies outside memory";
        case RingFault::buffer_not_mapped:
            return "a buffer lies outside memory";
        case RingFault::no_room_for_the_status:
            return "a request has no byte for its status";
    }
    return "unknown";
}

}  // namespace viaduct::virtio
