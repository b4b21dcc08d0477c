/// A split virtqueue as its driver sees it (virtio 1.2, 2.7.13 and 2.7.14): writes descriptors,
/// makes heads available, takes used elements, and knows when which side wants to be notified. It
/// knows neither chains nor eventfds, and belongs to one thread.
///
/// Memory ordering: as in split_ring_device_view.hpp, seen from the other side.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/virtio/split_ring.hpp"

namespace viaduct::virtio {

class SplitRingDriverView {
public:
    /// Both rings are zero, and so is everything that either side starts from.
    SplitRingDriverView(const SplitRing& ring, bool event_idx) noexcept
        : ring_(ring), event_idx_(event_idx) {}

    /// The device sees it once its chain is published. `slot` lies in the table.
    void set_descriptor(std::uint16_t slot, const Descriptor& descriptor) const noexcept;

    /// Hands a chain over; the device sees it after publish_available().
    void put_available(std::uint16_t head) noexcept;
    [[nodiscard]] bool has_unpublished() const noexcept { return next_avail_ != published_; }
    /// True when the device wants an available buffer notification for what was published
    /// (2.7.13.4).
    [[nodiscard]] bool publish_available() noexcept;

    /// How many elements were used and not taken; nothing when the device's index is further ahead
    /// than what it was given.
    [[nodiscard]] std::optional<std::uint16_t> used() const noexcept;
    /// The first of them. Any value, from a device that may be wrong.
    UsedElement take_used() noexcept;
    /// Published and not taken back.
    [[nodiscard]] std::uint16_t outstanding() const noexcept { return published_ - next_used_; }

    /// The device need not call (2.7.7): the driver is looking anyway.
    void suppress_calls() noexcept;
    /// The device shall call for the next element. True when elements came in the meantime, for
    /// which there may be no call: look again before going to sleep.
    [[nodiscard]] bool request_calls() noexcept;

private:
    SplitRing ring_;
    bool event_idx_;
    RingIndex next_avail_;  // one past what was put
    RingIndex published_;   // avail.idx
    RingIndex next_used_;
};

}  // namespace viaduct::virtio
