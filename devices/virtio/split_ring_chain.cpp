#include "devices/virtio/split_ring_chain.hpp"

namespace viaduct::virtio {

std::uint64_t total_length(std::span<const Segment> segments) noexcept {
    std::uint64_t length = 0;
    for (const Segment& segment : segments) length += segment.length;
    return length;
}

ChainReader::ChainReader(const SplitRing& ring, const AddressSpace& memory, bool indirect,
                         std::uint16_t longest)
    : ring_(ring), memory_(memory), indirect_(indirect), segments_(longest) {}

std::optional<RingFault> ChainReader::read(std::uint16_t head) noexcept {
    if (head >= ring_.size()) return RingFault::head_out_of_range;
    count_ = 0;
    readable_ = 0;
    Table table{ring_.descriptor_table(), ring_.size(), false};
    std::uint32_t slot = head;
    // Each step either adds a segment, of which there is a limit, or enters the one indirect table.
    while (true) {
        const Descriptor descriptor = copy_descriptor(table.descriptors, slot);
        if (descriptor.has(descriptor_flag::indirect)) {
            if (const auto fault = enter_indirect(descriptor, table)) return fault;
            slot = 0;
            continue;
        }
        if (const auto fault = add(descriptor)) return fault;
        if (!descriptor.has(descriptor_flag::next)) break;
        if (descriptor.next >= table.size) return RingFault::next_out_of_range;
        slot = descriptor.next;
    }
    const std::span<const Segment> all(segments_.data(), count_);
    chain_ = {head, all.first(readable_), all.subspan(readable_)};
    return std::nullopt;
}

std::optional<RingFault> ChainReader::enter_indirect(const Descriptor& descriptor,
                                                     Table& table) noexcept {
    if (!indirect_) return RingFault::indirect_not_negotiated;
    if (table.indirect) return RingFault::indirect_in_indirect;
    if (descriptor.has(descriptor_flag::next)) return RingFault::indirect_with_next;
    if (descriptor.length == 0 || descriptor.length % sizeof(Descriptor) != 0) {
        return RingFault::indirect_bad_length;
    }
    const auto bytes = memory_.find(descriptor.address, descriptor.length);
    if (bytes.empty()) return RingFault::indirect_not_mapped;
    table = {bytes.data(), static_cast<std::uint32_t>(descriptor.length / sizeof(Descriptor)),
             true};
    return std::nullopt;
}

std::optional<RingFault> ChainReader::add(const Descriptor& descriptor) noexcept {
    if (count_ == segments_.size()) return RingFault::chain_too_long;
    const bool writable = descriptor.has(descriptor_flag::write);
    if (!writable && readable_ != count_) return RingFault::readable_after_writable;
    segments_[count_++] = {descriptor.address, descriptor.length,
                           writable ? memory_.find_writable(descriptor.address, descriptor.length)
                                    : memory_.find(descriptor.address, descriptor.length)};
    if (!writable) readable_ = count_;
    return std::nullopt;
}

}  // namespace viaduct::virtio
