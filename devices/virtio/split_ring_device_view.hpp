/// A split virtqueue as its device sees it (virtio 1.2, 2.7): takes heads from the avail ring, puts
/// used elements, and knows when which side wants to be notified. It knows neither chains nor
/// eventfds, and belongs to one thread.
///
/// Memory ordering. An index publishes what was written before it: release store, acquire load.
/// Where a side publishes and then looks whether the other sleeps, while the other announces its
/// sleep and then looks whether something was published, each store must be seen before the load
/// after it: all four accesses are seq_cst, or a notification is lost.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/virtio/split_ring.hpp"

namespace viaduct::virtio {

class SplitRingDeviceView {
public:
    /// `base`: where both rings stand; nothing is in flight.
    SplitRingDeviceView(const SplitRing& ring, bool event_idx, RingIndex base) noexcept
        : SplitRingDeviceView(ring, event_idx, base, base) {}
    /// `avail` - `used` heads were taken before, by another, and are to be handed back by this one.
    SplitRingDeviceView(const SplitRing& ring, bool event_idx, RingIndex avail,
                        RingIndex used) noexcept
        : ring_(ring),
          event_idx_(event_idx),
          next_avail_(avail),
          next_used_(used),
          published_(used) {}

    /// Before the first entry is taken: asks for kicks from here on, whatever the side that had the
    /// ring before left behind.
    void take_over() noexcept;

    /// How many heads are ready to be taken; nothing when the driver's index is further ahead than
    /// the ring is long.
    [[nodiscard]] std::optional<std::uint16_t> available() const noexcept;
    /// The first of them. Any value, and it may change: read it once.
    [[nodiscard]] std::uint16_t head() const noexcept;
    void take() noexcept { ++next_avail_; }
    /// The avail index of the next head to be taken.
    [[nodiscard]] RingIndex next_avail() const noexcept { return next_avail_; }

    /// Hands a chain back; the driver sees it after publish_used(). `length`: bytes written.
    void put_used(std::uint16_t head, std::uint32_t length) noexcept;
    /// Where the next used element goes.
    [[nodiscard]] RingIndex next_used() const noexcept { return next_used_; }
    [[nodiscard]] bool has_unpublished() const noexcept { return next_used_ != published_; }
    /// True when the driver wants a used buffer notification for what was published (2.7.7).
    [[nodiscard]] bool publish_used() noexcept;

    /// The driver need not kick (2.7.10): the device is looking anyway.
    void suppress_kicks() noexcept;
    /// The driver shall kick for the next head. True when heads came in the meantime, for which
    /// there may be no kick: look again before going to sleep.
    [[nodiscard]] bool request_kicks() noexcept;

private:
    SplitRing ring_;
    bool event_idx_;
    RingIndex next_avail_;
    RingIndex next_used_;  // one past what was put
    RingIndex published_;  // used.idx
};

}  // namespace viaduct::virtio
