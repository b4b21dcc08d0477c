#include "devices/virtio/split_ring_driver_view.hpp"

#include <cstring>

namespace viaduct::virtio {

void SplitRingDriverView::set_descriptor(std::uint16_t slot,
                                         const Descriptor& descriptor) const noexcept {
    std::memcpy(ring_.descriptor_table() + slot * sizeof descriptor, &descriptor,
                sizeof descriptor);
}

void SplitRingDriverView::put_available(std::uint16_t head) noexcept {
    // relaxed: publish_available() publishes it.
    ring_.avail_entry(next_avail_).store(head, std::memory_order_relaxed);
    ++next_avail_;
}

bool SplitRingDriverView::publish_available() noexcept {
    const RingIndex before = published_;
    published_ = next_avail_;
    // seq_cst: as a release it publishes the entries, the descriptors and the buffers, and it comes
    // before the load below. The device stores avail_event (or clears NO_NOTIFY) before it looks at
    // avail.idx.
    ring_.avail_idx().store(published_.value(), std::memory_order_seq_cst);
    if (event_idx_) {
        const RingIndex event(ring_.avail_event().load(std::memory_order_seq_cst));
        return passed_event(event, before, published_);
    }
    return (ring_.used_flags().load(std::memory_order_seq_cst) & ring_flag::no_notify) == 0;
}

std::optional<std::uint16_t> SplitRingDriverView::used() const noexcept {
    // acquire: pairs with the device's release of used.idx; the elements and what it wrote to the
    // buffers are visible.
    const RingIndex used(ring_.used_idx().load(std::memory_order_acquire));
    const std::uint16_t count = used - next_used_;
    if (count > outstanding()) return std::nullopt;
    return count;
}

UsedElement SplitRingDriverView::take_used() noexcept {
    const UsedElement element = ring_.used_entry(next_used_);
    ++next_used_;
    return element;
}

void SplitRingDriverView::suppress_calls() noexcept {
    // With EVENT_IDX nothing is to be done: the device has passed used_event, or will pass it once.
    // relaxed: a device that sees it late calls in vain.
    if (!event_idx_) {
        ring_.avail_flags().store(ring_flag::no_interrupt, std::memory_order_relaxed);
    }
}

bool SplitRingDriverView::request_calls() noexcept {
    // seq_cst: the wish must be seen before used.idx is read. The device stores used.idx before it
    // looks at used_event or avail.flags.
    if (event_idx_) {
        ring_.used_event().store(next_used_.value(), std::memory_order_seq_cst);
    } else {
        ring_.avail_flags().store(0, std::memory_order_seq_cst);
    }
    return RingIndex(ring_.used_idx().load(std::memory_order_seq_cst)) != next_used_;
}

}  // namespace viaduct::virtio
