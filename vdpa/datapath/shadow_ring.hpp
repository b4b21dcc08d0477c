/// The slow path's own ring towards the device: chains are copied into it, descriptor by
/// descriptor, and go by the number of the slot they were given. A device with INDIRECT_DESC gets
/// each chain of several buffers as one indirect table, so that there are as many slots as the ring
/// has entries; any other gets chains of the ring's own descriptors.
///
/// Of one thread; allocates nothing after its making.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/virtio/split_ring_chain.hpp"
#include "devices/virtio/split_ring_driver_view.hpp"
#include "vdpa/datapath/shadow_memory.hpp"

namespace viaduct::datapath {

class ShadowRing {
public:
    ShadowRing(const ShadowQueue& memory, bool event_idx, bool indirect);

    /// The ring itself: slots are its heads.
    [[nodiscard]] virtio::SplitRingDriverView& view() noexcept { return view_; }
    [[nodiscard]] const virtio::SplitRingDriverView& view() const noexcept { return view_; }
    [[nodiscard]] std::uint16_t size() const noexcept { return memory_.setup.size; }

    /// Copies the chain; the slot is the caller's until it releases it. Nothing when there is no
    /// room before another is released.
    std::optional<std::uint16_t> place(const virtio::Chain& chain) noexcept;
    /// `slot` came from place() and the device has handed it back, or never had it.
    void release(std::uint16_t slot) noexcept;

private:
    static constexpr std::uint16_t none = 0xffff;

    std::optional<std::uint16_t> place_in_table(const virtio::Chain& chain) noexcept;
    std::optional<std::uint16_t> place_in_ring(const virtio::Chain& chain) noexcept;

    ShadowQueue memory_;
    bool indirect_;
    virtio::SplitRingDriverView view_;
    std::vector<std::uint16_t> free_;        // descriptors of the ring
    std::vector<std::uint16_t> free_large_;  // tables
    std::vector<std::uint16_t> large_of_;    // by slot: its large table, or none
    std::vector<std::uint16_t> next_of_;     // by descriptor: the chain's next, or none
};

}  // namespace viaduct::datapath
