#include "guest-images/probe/virtqueue.hpp"

#include <atomic>

#include "guest-images/probe/pages.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::virtio {
namespace {

uint16_t load(uint16_t& shared) {
    return std::atomic_ref{shared}.load(std::memory_order_acquire);
}
void store(uint16_t& shared, uint16_t value) {
    std::atomic_ref{shared}.store(value, std::memory_order_release);
}

Descriptor describe(const Segment& segment, bool has_next, uint16_t next) {
    const unsigned flags = (has_next ? descriptor::next : 0U) |
                           (segment.device_writes ? descriptor::device_writes : 0U);
    return {segment.address, segment.length, static_cast<uint16_t>(flags), next};
}

}  // namespace

Virtqueue::Virtqueue(uint16_t size, bool has_event_idx)
    : descriptors{allocate_array<Descriptor>(size)},
      available{static_cast<AvailableHeader*>(
          allocate(sizeof(AvailableHeader) + sizeof(uint16_t) * size + 2, 16))},
      used{static_cast<UsedHeader*>(
          allocate(sizeof(UsedHeader) + sizeof(UsedElement) * size + 2, 16))},
      size_{size},
      has_event_idx_{has_event_idx},
      free_{allocate_array<uint16_t>(size)},
      free_count_{size} {
    for (uint16_t i = 0; i < size; ++i) free_[i] = static_cast<uint16_t>(size - 1 - i);
}

QueueAddresses Virtqueue::addresses() const {
    return {address_of(descriptors), address_of(available), address_of(used)};
}

uint16_t Virtqueue::add_chain(const Segment* segments, size_t count) {
    CHECK(count > 0 && count <= free_count_, count, free_count_);
    const uint16_t head = next_head();
    for (size_t i = 0; i < count; ++i) {
        const uint16_t index = free_[--free_count_];
        const bool has_next = i + 1 < count;
        descriptors[index] = describe(segments[i], has_next, has_next ? next_head() : uint16_t{0});
    }
    return head;
}

uint16_t Virtqueue::add_indirect(Descriptor* table, const Segment* segments, size_t count) {
    CHECK(free_count_ > 0);
    for (size_t i = 0; i < count; ++i) {
        table[i] = describe(segments[i], i + 1 < count, static_cast<uint16_t>(i + 1));
    }
    const uint16_t head = free_[--free_count_];
    descriptors[head] = {address_of(table), static_cast<uint32_t>(count * sizeof(Descriptor)),
                         descriptor::indirect, 0};
    return head;
}

void Virtqueue::release_chain(uint16_t head) {
    CHECK(head < size_, head);
    uint16_t index = head;
    uint16_t chain[1024];
    size_t length = 0;
    for (;;) {
        chain[length++] = index;
        const Descriptor& entry = descriptors[index];
        if ((entry.flags & descriptor::next) == 0 || length == 1024) break;
        index = entry.next;
    }
    // Backwards, so that a queue with one request in flight reuses its descriptors in their order.
    while (length != 0) free_[free_count_++] = chain[--length];
}

void Virtqueue::publish(uint16_t head) {
    available_ring()[available_index_ % size_] = head;
    store_available_index(static_cast<uint16_t>(available_index_ + 1));
}

void Virtqueue::store_available_index(uint16_t index) {
    available_index_ = index;
    store(available->index, index);
}

bool Virtqueue::needs_notification() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const uint16_t old_index = notified_index_;
    notified_index_ = available_index_;
    if (!has_event_idx_) return (used_flags() & used_no_notify) == 0;
    return is_event_due(available_event(), available_index_, old_index);
}

uint16_t Virtqueue::used_index() const {
    return load(used->index);
}
bool Virtqueue::has_used() const {
    return used_index() != next_used_;
}

UsedElement Virtqueue::take_used() {
    CHECK(has_used());
    const UsedElement element = used_ring()[next_used_ % size_];
    ++next_used_;
    return element;
}

void Virtqueue::set_no_interrupt(bool is_set) const {
    store(available->flags, is_set ? avail_no_interrupt : uint16_t{0});
}

void Virtqueue::set_used_event(uint16_t index) const {
    store(available_ring()[size_], index);
}
uint16_t Virtqueue::available_event() const {
    return load(*reinterpret_cast<uint16_t*>(used_ring() + size_));
}
uint16_t Virtqueue::used_flags() const {
    return load(used->flags);
}

}  // namespace probe::virtio
