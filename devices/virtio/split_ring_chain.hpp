/// Reads descriptor chains for whoever takes them from a driver (virtio 1.2, 2.7.5): each
/// descriptor is copied once, its flow is checked, and what it names is looked up. What comes out
/// is private and stays true whatever the guest does to its tables afterwards.
///
/// A chain whose *structure* makes no sense is a RingFault. A buffer that is not in memory is the
/// chain's own affair: its segment has no bytes, and the device decides what to answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "devices/virtio/split_ring.hpp"

namespace viaduct::virtio {

struct Segment {
    Iova address;
    std::uint32_t length = 0;    // bytes
    std::span<std::byte> bytes;  // empty when any of it is not mapped or, if the device would write
                                 // it, not writable; and when length is 0
};

/// Bytes of all of them.
std::uint64_t total_length(std::span<const Segment> segments) noexcept;

/// Valid until the reader reads the next one.
struct Chain {
    std::uint16_t head = 0;
    std::span<const Segment> readable;
    std::span<const Segment> writable;
};

class ChainReader {
public:
    /// `longest`: how many buffers a chain may have at most; also the size of the reader's memory.
    ChainReader(const SplitRing& ring, const AddressSpace& memory, bool indirect,
                std::uint16_t longest);

    /// Reads the chain that starts at `head`, any value.
    std::optional<RingFault> read(std::uint16_t head) noexcept;
    [[nodiscard]] const Chain& chain() const noexcept { return chain_; }

private:
    struct Table {
        const std::byte* descriptors = nullptr;
        std::uint32_t size = 0;  // descriptors
        bool indirect = false;
    };

    std::optional<RingFault> enter_indirect(const Descriptor& descriptor, Table& table) noexcept;
    std::optional<RingFault> add(const Descriptor& descriptor) noexcept;

    SplitRing ring_;
    const AddressSpace& memory_;
    bool indirect_;
    std::vector<Segment> segments_;
    std::size_t count_ = 0;
    std::size_t readable_ = 0;
    Chain chain_;
};

}  // namespace viaduct::virtio
