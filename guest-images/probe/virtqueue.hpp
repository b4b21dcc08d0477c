// The driver's side of a split virtqueue (virtio 1.2, 2.7). The parts are public: the hostile
// scenarios write into them what no driver would.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest-images/probe/virtio_pci.hpp"

namespace probe::virtio {

struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

namespace descriptor {
inline constexpr uint16_t next = 1;
inline constexpr uint16_t device_writes = 2;
inline constexpr uint16_t indirect = 4;
}  // namespace descriptor

struct UsedElement {
    uint32_t id;
    uint32_t length;
};

struct AvailableHeader {
    uint16_t flags;
    uint16_t index;
};
inline constexpr uint16_t avail_no_interrupt = 1;

struct UsedHeader {
    uint16_t flags;
    uint16_t index;
};
inline constexpr uint16_t used_no_notify = 1;

// A piece of a buffer.
struct Segment {
    uint64_t address;
    uint32_t length;
    bool device_writes;
};

// virtio 1.2, 2.7.10.1: an event is due when the index crosses the one that was asked for.
constexpr bool is_event_due(uint16_t event, uint16_t new_index, uint16_t old_index) {
    return static_cast<uint16_t>(new_index - event - 1) <
           static_cast<uint16_t>(new_index - old_index);
}

class Virtqueue {
public:
    Virtqueue(uint16_t size, bool has_event_idx);

    uint16_t size() const { return size_; }
    QueueAddresses addresses() const;

    // Writes a chain into free descriptors and answers its head. The caller sees to there being
    // enough.
    uint16_t add_chain(const Segment* segments, size_t count);
    // The same behind one descriptor that points to `table`.
    uint16_t add_indirect(Descriptor* table, const Segment* segments, size_t count);
    // The head that the next add will answer.
    uint16_t next_head() const { return free_[free_count_ - 1]; }
    uint16_t free_count() const { return free_count_; }
    void release_chain(uint16_t head);

    // Makes a head available.
    void publish(uint16_t head);
    // Makes `index` the available index as it is.
    void store_available_index(uint16_t index);
    uint16_t available_index() const { return available_index_; }
    // Whether the device wants a notification for what was published since the last call.
    bool needs_notification();

    bool has_used() const;
    UsedElement take_used();
    uint16_t used_index() const;
    uint16_t next_used() const { return next_used_; }

    void set_no_interrupt(bool is_set) const;
    // EVENT_IDX: interrupt when the used index passes this one.
    void set_used_event(uint16_t index) const;
    uint16_t available_event() const;
    uint16_t used_flags() const;

    Descriptor* descriptors;
    AvailableHeader* available;
    UsedHeader* used;

    uint16_t* available_ring() const { return reinterpret_cast<uint16_t*>(available + 1); }
    UsedElement* used_ring() const { return reinterpret_cast<UsedElement*>(used + 1); }

private:
    uint16_t size_;
    bool has_event_idx_;
    uint16_t available_index_ = 0;
    uint16_t notified_index_ = 0;
    uint16_t next_used_ = 0;
    uint16_t* free_;
    uint16_t free_count_;
};

}  // namespace probe::virtio
