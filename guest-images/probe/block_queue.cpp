#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::block {

using virtio::Segment;

Queue::Queue(const virtio::Transport& transport, uint16_t index, uint16_t size, bool has_event_idx)
    : ring{size, has_event_idx},
      index_{index},
      notify_address_{transport.notify_address(index)},
      slots_{allocate_array<RequestSlot>(size)} {}

size_t Queue::collect(RequestType type, uint64_t sector, const Segment* payload, size_t count,
                      Segment* segments) {
    CHECK(count <= most_segments, count);
    RequestSlot& request = slot(ring.next_head());
    request.header = {type, 0, sector};
    request.status = Status::untouched;
    segments[0] = {address_of(&request.header), sizeof(RequestHeader), false};
    for (size_t i = 0; i < count; ++i) segments[i + 1] = payload[i];
    segments[count + 1] = {address_of(&request.status), 1, true};
    return count + 2;
}

uint16_t Queue::submit(RequestType type, uint64_t sector, const Segment* payload, size_t count) {
    Segment segments[most_segments + 2];
    const size_t total = collect(type, sector, payload, count, segments);
    const uint16_t head = ring.add_chain(segments, total);
    ring.publish(head);
    return head;
}

uint16_t Queue::submit_indirect(RequestType type, uint64_t sector, const Segment* payload,
                                size_t count) {
    Segment segments[most_segments + 2];
    const size_t total = collect(type, sector, payload, count, segments);
    auto* table = allocate_array<virtio::Descriptor>(total);
    const uint16_t head = ring.add_indirect(table, segments, total);
    ring.publish(head);
    return head;
}

void Queue::kick() {
    if (ring.needs_notification()) kick_always();
}

void Queue::kick_always() const {
    mmio_write<uint16_t>(notify_address_, index_);
}

bool Queue::wait_quietly(Microseconds limit) {
    const auto has_used = [this] { return ring.has_used(); };
    return completion_ == Completion::polling ? spin_until(limit, has_used)
                                              : halt_until(limit, has_used);
}

Done Queue::wait() {
    const uint64_t seconds = option_number("timeout", 10);
    if (!wait_quietly({seconds * 1'000'000})) {
        // An interrupt that got lost and a request that got lost are two different faults.
        CHECK(!ring.has_used(), "queue ", index_, ": completed, but no interrupt came");
        FAIL("queue ", index_, ": no completion within ", seconds, " s, available index ",
             ring.available_index(), ", used index ", ring.used_index());
    }
    const virtio::UsedElement element = ring.take_used();
    CHECK(element.id < ring.size(), "used id ", element.id);
    const auto head = static_cast<uint16_t>(element.id);
    const Status status = slot(head).status;
    ring.release_chain(head);
    return {head, status, element.length};
}

Status Queue::transfer(RequestType type, uint64_t sector, const Segment* payload, size_t count) {
    const uint16_t head = submit(type, sector, payload, count);
    kick();
    const Done done = wait();
    CHECK_EQUAL(done.head, head);
    return done.status;
}

Status Queue::read(uint64_t sector, void* buffer, uint32_t bytes) {
    const Segment payload{address_of(buffer), bytes, true};
    return transfer(RequestType::read, sector, &payload, 1);
}

Status Queue::write(uint64_t sector, const void* buffer, uint32_t bytes) {
    const Segment payload{address_of(buffer), bytes, false};
    return transfer(RequestType::write, sector, &payload, 1);
}

}  // namespace probe::block
