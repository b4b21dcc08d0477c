/// A split virtqueue in memory (virtio 1.2, 2.7): its layout, its indices and its notification
/// arithmetic. Who reads and writes what, and in which order, is the business of the two views (the
/// device's in split_ring_device_view.hpp); this only gives them the fields.
///
/// All fields are little-endian, as every host this program runs on. The memory is shared with a
/// guest that may change it at any moment: fields are loaded once, by an atomic load or a copy.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/address_space.hpp"
#include "devices/virtio/device.hpp"

namespace viaduct::virtio {

static_assert(std::endian::native == std::endian::little);

/// A free-running 16-bit index into a ring. It wraps by itself and has no order: only distances
/// mean something.
class RingIndex {
public:
    constexpr RingIndex() noexcept = default;
    constexpr explicit RingIndex(std::uint16_t value) noexcept : value_(value) {}

    [[nodiscard]] constexpr std::uint16_t value() const noexcept { return value_; }
    /// The entry it stands at in a ring of `size` entries, a power of two.
    [[nodiscard]] constexpr std::uint16_t slot(std::uint16_t size) const noexcept {
        return static_cast<std::uint16_t>(value_ & (size - 1U));
    }

    constexpr RingIndex& operator++() noexcept {
        ++value_;
        return *this;
    }
    friend constexpr RingIndex operator+(RingIndex index, std::uint16_t steps) noexcept {
        return RingIndex(static_cast<std::uint16_t>(index.value_ + steps));
    }
    /// How many steps `behind` has to take to come to `ahead`.
    friend constexpr std::uint16_t operator-(RingIndex ahead, RingIndex behind) noexcept {
        return static_cast<std::uint16_t>(ahead.value_ - behind.value_);
    }
    friend constexpr bool operator==(RingIndex, RingIndex) noexcept = default;

private:
    std::uint16_t value_ = 0;
};

/// Whether an index that went from `before` to `now` passed the entry that the other side wants to
/// hear about (2.7.7.2 and 2.7.10 with VIRTIO_F_EVENT_IDX).
constexpr bool passed_event(RingIndex event, RingIndex before, RingIndex now) noexcept {
    return static_cast<std::uint16_t>(now - event - 1U) < now - before;
}

namespace descriptor_flag {
inline constexpr std::uint16_t next = 1;
inline constexpr std::uint16_t write = 2;  // the device writes
inline constexpr std::uint16_t indirect = 4;
}  // namespace descriptor_flag

/// 2.7.5
struct Descriptor {
    Iova address;
    std::uint32_t length = 0;  // bytes
    std::uint16_t flags = 0;
    std::uint16_t next = 0;

    [[nodiscard]] bool has(std::uint16_t flag) const noexcept { return (flags & flag) != 0; }
};
static_assert(sizeof(Descriptor) == 16);

/// 2.7.8
struct UsedElement {
    std::uint32_t id = 0;      // head of the chain
    std::uint32_t length = 0;  // bytes that the device wrote
};
static_assert(sizeof(UsedElement) == 8);

/// 2.7.6 and 2.7.8
namespace ring_flag {
inline constexpr std::uint16_t no_interrupt = 1;  // avail.flags
inline constexpr std::uint16_t no_notify = 1;     // used.flags
}  // namespace ring_flag

class SplitRing {
public:
    static constexpr std::uint16_t largest_size = 32768;

    static constexpr std::size_t descriptor_table_bytes(std::uint16_t size) noexcept {
        return sizeof(Descriptor) * size;
    }
    static constexpr std::size_t avail_bytes(std::uint16_t size) noexcept {
        return 6 + sizeof(std::uint16_t) * size;
    }
    static constexpr std::size_t used_bytes(std::uint16_t size) noexcept {
        return 6 + sizeof(UsedElement) * size;
    }

    /// Nothing when the size is no power of two, or an area is not mapped, not aligned as the
    /// specification wants (2.7: 16, 2 and 4 bytes) or, the used ring, not writable.
    static std::optional<SplitRing> find(const AddressSpace& memory,
                                         const QueueSetup& queue) noexcept;

    [[nodiscard]] std::uint16_t size() const noexcept { return size_; }

    using SharedField = std::atomic_ref<std::uint16_t>;
    [[nodiscard]] SharedField avail_flags() const noexcept { return field(avail_, 0); }
    [[nodiscard]] SharedField avail_idx() const noexcept { return field(avail_, 2); }
    [[nodiscard]] SharedField used_event() const noexcept { return field(avail_, 4U + 2U * size_); }
    [[nodiscard]] SharedField used_flags() const noexcept { return field(used_, 0); }
    [[nodiscard]] SharedField used_idx() const noexcept { return field(used_, 2); }
    [[nodiscard]] SharedField avail_event() const noexcept { return field(used_, 4U + 8U * size_); }

    /// The avail ring's entry: the head of a chain.
    [[nodiscard]] SharedField avail_entry(RingIndex index) const noexcept {
        return field(avail_, 4U + 2U * index.slot(size_));
    }
    void set_used_entry(RingIndex index, UsedElement element) const noexcept;
    [[nodiscard]] UsedElement used_entry(RingIndex index) const noexcept;

    [[nodiscard]] std::byte* descriptor_table() const noexcept { return descriptors_; }

private:
    SplitRing() noexcept = default;

    /// The areas are 2-aligned and lie wholly in mapped memory, where the driver keeps integers.
    static SharedField field(std::byte* area, std::size_t offset) noexcept {
        return SharedField(*reinterpret_cast<std::uint16_t*>(area + offset));
    }

    std::byte* descriptors_ = nullptr;
    std::byte* avail_ = nullptr;
    std::byte* used_ = nullptr;
    std::uint16_t size_ = 0;
};

/// A private copy of a descriptor, so that what was judged is what is used.
Descriptor copy_descriptor(const std::byte* table, std::size_t slot) noexcept;

/// What makes no sense in a ring: its device cannot go on before a reset (2.1.2).
enum class RingFault {
    avail_index_jumped,
    head_out_of_range,
    head_in_flight,
    next_out_of_range,
    chain_too_long,
    readable_after_writable,
    indirect_not_negotiated,
    indirect_with_next,
    indirect_in_indirect,
    indirect_bad_length,
    indirect_not_mapped,
    buffer_not_mapped,
    no_room_for_the_status,
};

/// In words, for the log.
const char* describe(RingFault fault) noexcept;

}  // namespace viaduct::virtio
