/// A device behind a shadow ring that does what it likes in its used ring, and remembers what it
/// was given: the witness of what goes on between the two.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "devices/virtio/split_ring.hpp"
#include "tests/fuzz/chain_walk.hpp"
#include "vdpa/datapath/relay.hpp"
#include "vdpa/datapath/shadow_memory.hpp"

namespace viaduct::fuzz {

/// A chain that the relay took from the guest.
struct Taken {
    std::uint16_t guest_head = 0;
    virtio::RingIndex at;  // in the avail ring
    std::vector<Buffer> buffers;
};

/// The same, in the device's hands.
struct Given {
    std::uint16_t slot = 0;
    Taken taken;
    std::uint64_t writable = 0;  // bytes
};

class HostileDevice {
public:
    HostileDevice(const datapath::ShadowQueue& queue, MemoryRegion window, bool indirect);

    /// Looks at what was made available since the last time. Each chain must be one of `taken`,
    /// which it leaves, buffer for buffer, and lie wholly in the shadow window. Returns how many.
    std::uint16_t look(std::deque<Taken>& taken);

    /// Hands the `number`th of what it has back, as a device does.
    void use(std::uint64_t number, std::uint32_t length) const;
    /// Hands anything back.
    void put_used(virtio::UsedElement element) const;
    void advance_used_index(std::uint16_t steps) const;
    /// Writes into its used ring, from a byte of it.
    void write(std::uint64_t offset, std::uint16_t value) const;
    [[nodiscard]] bool wants_kick(virtio::RingIndex before, bool event_idx) const;
    /// It was asked to call for the next element that it uses.
    [[nodiscard]] bool will_call(bool event_idx) const;
    [[nodiscard]] virtio::RingIndex seen() const noexcept { return seen_; }

    /// What a driver must make of the used ring as it stands: the guest's heads and lengths in the
    /// order of their use, and the fault that ended it.
    struct Verdict {
        std::vector<virtio::UsedElement> used;
        std::optional<datapath::DeviceFault> fault;
    };
    Verdict judge_used();

    [[nodiscard]] const std::vector<Given>& outstanding() const noexcept { return outstanding_; }
    /// What it was given still says what it said.
    void require_unchanged() const;

private:
    [[nodiscard]] std::optional<std::vector<Buffer>> chain_at(std::uint16_t slot) const;

    datapath::ShadowQueue queue_;
    MemoryRegion window_;
    Walk walk_;
    virtio::RingIndex seen_;    // of the avail ring
    virtio::RingIndex judged_;  // of the used ring
    std::vector<Given> outstanding_;
};

}  // namespace viaduct::fuzz
