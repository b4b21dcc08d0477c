#include "devices/virtio/split_ring_device_view.hpp"

namespace viaduct::virtio {

void SplitRingDeviceView::take_over() noexcept {
    // relaxed: request_kicks(), the last thing before any sleep, orders it.
    ring_.used_flags().store(0, std::memory_order_relaxed);
    (void)request_kicks();
}

std::optional<std::uint16_t> SplitRingDeviceView::available() const noexcept {
    // acquire: pairs with the driver's release of avail.idx; the ring's entries, the descriptors
    // and the buffers that it published are visible.
    const RingIndex avail(ring_.avail_idx().load(std::memory_order_acquire));
    const std::uint16_t count = avail - next_avail_;
    if (count > ring_.size()) return std::nullopt;
    return count;
}

std::uint16_t SplitRingDeviceView::head() const noexcept {
    // relaxed: published by the avail.idx that available() acquired; atomic so that it is read
    // once.
    return ring_.avail_entry(next_avail_).load(std::memory_order_relaxed);
}

void SplitRingDeviceView::put_used(std::uint16_t head, std::uint32_t length) noexcept {
    ring_.set_used_entry(next_used_, {head, length});
    ++next_used_;
}

bool SplitRingDeviceView::publish_used() noexcept {
    const RingIndex before = published_;
    published_ = next_used_;
    // seq_cst: as a release it publishes the elements and the buffers, and it comes before the load
    // below. The driver stores used_event (or clears NO_INTERRUPT) before it looks at used.idx.
    ring_.used_idx().store(published_.value(), std::memory_order_seq_cst);
    if (event_idx_) {
        const RingIndex event(ring_.used_event().load(std::memory_order_seq_cst));
        return passed_event(event, before, published_);
    }
    return (ring_.avail_flags().load(std::memory_order_seq_cst) & ring_flag::no_interrupt) == 0;
}

void SplitRingDeviceView::suppress_kicks() noexcept {
    // With EVENT_IDX nothing is to be done: the driver has passed avail_event, or will pass it
    // once. relaxed: a driver that sees it late kicks in vain.
    if (!event_idx_) {
        ring_.used_flags().store(ring_flag::no_notify, std::memory_order_relaxed);
    }
}

bool SplitRingDeviceView::request_kicks() noexcept {
    // seq_cst: the wish must be seen before avail.idx is read. The driver stores avail.idx before
    // it looks at avail_event or used.flags.
    if (event_idx_) {
        ring_.avail_event().store(next_avail_.value(), std::memory_order_seq_cst);
    } else {
        ring_.used_flags().store(0, std::memory_order_seq_cst);
    }
    return RingIndex(ring_.avail_idx().load(std::memory_order_seq_cst)) != next_avail_;
}

}  // namespace viaduct::virtio
