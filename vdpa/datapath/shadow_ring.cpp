#include "vdpa/datapath/shadow_ring.hpp"

#include <cstring>

namespace viaduct::datapath {
namespace {

using virtio::Chain;
using virtio::Descriptor;
using virtio::Segment;
namespace descriptor_flag = virtio::descriptor_flag;

std::size_t length_of(const Chain& chain) noexcept {
    return chain.readable.size() + chain.writable.size();
}

std::uint16_t take_from(std::vector<std::uint16_t>& free) noexcept {
    const std::uint16_t taken = free.back();
    free.pop_back();
    return taken;
}

/// Calls `put` for each buffer of the chain, in order, with its descriptor but for `next`.
template <typename Put>
void for_each_descriptor(const Chain& chain, Put&& put) noexcept {
    const std::size_t last = length_of(chain) - 1;
    std::size_t index = 0;
    const auto put_all = [&](std::span<const Segment> segments, std::uint16_t direction) {
        for (const Segment& segment : segments) {
            const auto flags = static_cast<std::uint16_t>(
                direction | (index == last ? 0U : descriptor_flag::next));
            put(index++, Descriptor{segment.address, segment.length, flags, 0});
        }
    };
    put_all(chain.readable, 0);
    put_all(chain.writable, descriptor_flag::write);
}

std::vector<std::uint16_t> numbers_down_to_zero(std::size_t count) {
    std::vector<std::uint16_t> numbers;
    for (std::size_t number = count; number > 0; --number) {
        numbers.push_back(static_cast<std::uint16_t>(number - 1));
    }
    return numbers;
}

}  // namespace

ShadowRing::ShadowRing(const ShadowQueue& memory, bool event_idx, bool indirect)
    : memory_(memory),
      indirect_(indirect),
      view_(memory.ring, event_idx),
      free_(numbers_down_to_zero(memory.setup.size)),
      free_large_(numbers_down_to_zero(memory.large.count())),
      large_of_(memory.setup.size, none),
      next_of_(memory.setup.size, none) {}

std::optional<std::uint16_t> ShadowRing::place(const Chain& chain) noexcept {
    return indirect_ && length_of(chain) > 1 ? place_in_table(chain) : place_in_ring(chain);
}

std::optional<std::uint16_t> ShadowRing::place_in_table(const Chain& chain) noexcept {
    const std::size_t length = length_of(chain);
    const bool large = length > memory_.small.entries;
    if (free_.empty() || (large && free_large_.empty())) return std::nullopt;
    const std::uint16_t slot = take_from(free_);
    if (large) large_of_[slot] = take_from(free_large_);
    const ShadowTables& tables = large ? memory_.large : memory_.small;
    const std::uint16_t number = large ? large_of_[slot] : slot;
    std::byte* const table = tables.table(number);
    for_each_descriptor(chain, [&](std::size_t index, Descriptor descriptor) {
        if (descriptor.has(descriptor_flag::next)) {
            descriptor.next = static_cast<std::uint16_t>(index + 1);
        }
        std::memcpy(table + index * sizeof descriptor, &descriptor, sizeof descriptor);
    });
    view_.set_descriptor(
        slot, {tables.table_iova(number), static_cast<std::uint32_t>(length * sizeof(Descriptor)),
               descriptor_flag::indirect, 0});
    return slot;
}

std::optional<std::uint16_t> ShadowRing::place_in_ring(const Chain& chain) noexcept {
    if (length_of(chain) > free_.size()) return std::nullopt;
    const std::uint16_t slot = take_from(free_);
    std::uint16_t at = slot;
    for_each_descriptor(chain, [&](std::size_t, Descriptor descriptor) {
        const std::uint16_t here = at;
        if (descriptor.has(descriptor_flag::next)) {
            at = take_from(free_);
            descriptor.next = at;
            next_of_[here] = at;
        }
        view_.set_descriptor(here, descriptor);
    });
    return slot;
}

void ShadowRing::release(std::uint16_t slot) noexcept {
    if (large_of_[slot] != none) {
        free_large_.push_back(large_of_[slot]);
        large_of_[slot] = none;
    }
    for (std::uint16_t at = slot; at != none;) {
        const std::uint16_t next = next_of_[at];
        next_of_[at] = none;
        free_.push_back(at);
        at = next;
    }
}

}  // namespace viaduct::datapath
