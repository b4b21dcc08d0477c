#include "vdpa/datapath/relay.hpp"

#include <algorithm>

namespace viaduct::datapath {
namespace {

using virtio::RingFault;
using virtio::Segment;

std::uint64_t nanoseconds(Relay::Clock::duration time) noexcept {
    const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

Request parse(const Personality* personality, const virtio::Chain& chain) noexcept {
    if (personality != nullptr && personality->parse != nullptr) return personality->parse(chain);
    Request request;
    request.payload = virtio::total_length(chain.readable) + virtio::total_length(chain.writable);
    request.bytes = request.payload;
    return request;
}

}  // namespace

const char* describe(DeviceFault fault) noexcept {
    switch (fault) {
        case DeviceFault::used_index_jumped:
            return "the device used more than it was given";
        case DeviceFault::unknown_element:
            return "the device handed back what it was not given";
    }
    return "unknown";
}

Relay::Relay(const RelaySetup& setup)
    : setup_(setup),
      guest_(setup.guest_ring, setup.event_idx, setup.base),
      chains_(setup.guest_ring, setup.memory, setup.indirect,
              setup.indirect ? setup.shadow.longest_chain() : setup.guest_ring.size()),
      shadow_(setup.shadow, setup.event_idx, setup.indirect),
      slots_(setup.shadow.setup.size),
      held_{Line(setup.shadow.setup.size), Line(setup.shadow.setup.size)} {}

void Relay::take_over() noexcept {
    guest_.take_over();
}

void Relay::pause() noexcept {
    taking_ = false;
    leave_throttle();
}

void Relay::leave_throttle() const noexcept {
    // Or others of its group would wait for its turn.
    if (setup_.throttle != nullptr) setup_.throttle->withdraw();
}

bool Relay::forward(Clock::time_point now) noexcept {
    if (device_fault_) return false;
    if (taking_) try_held(now);
    unsigned taken = 0;
    if (takes()) {
        const auto available = guest_.available();
        if (!available) fail(RingFault::avail_index_jumped);
        no_room_ = false;
        while (takes() && taken < available.value_or(0) && take_one(now)) ++taken;
    }
    if (taken != 0) {
        setup_.statistics.batches.add();
        setup_.statistics.chains.add(taken);
    }
    const bool forwarded = shadow_.view().has_unpublished();
    publish_available();
    return forwarded || taken != 0;
}

bool Relay::take_one(Clock::time_point now) noexcept {
    auto fault = chains_.read(guest_.head());
    if (!fault && !buffers_in_memory()) fault = RingFault::buffer_not_mapped;
    if (fault) {
        fail(*fault);
        return false;
    }
    const virtio::Chain& chain = chains_.chain();
    const auto place = shadow_.place(chain);
    if (!place) {
        no_room_ = true;
        return false;
    }
    Slot& slot = slots_[*place];
    slot.taken_at = guest_.next_avail();
    guest_.take();
    slot.guest_head = chain.head;
    slot.readable = virtio::total_length(chain.readable);
    slot.writable = virtio::total_length(chain.writable);
    slot.request = parse(setup_.personality, chain);
    slot.taken = now;
    submit_or_hold(*place, now);
    return true;
}

void Relay::fail(RingFault fault) noexcept {
    guest_fault_ = fault;
    setup_.statistics.faults.add();
}

bool Relay::buffers_in_memory() const noexcept {
    const auto inside = [](const Segment& segment) {
        return segment.length == 0 || !segment.bytes.empty();
    };
    const virtio::Chain& chain = chains_.chain();
    return std::all_of(chain.readable.begin(), chain.readable.end(), inside) &&
           std::all_of(chain.writable.begin(), chain.writable.end(), inside);
}

void Relay::submit_or_hold(std::uint16_t slot, Clock::time_point now) noexcept {
    const Request& request = slots_[slot].request;
    if (setup_.throttle == nullptr || !setup_.throttle->active() || request.payload == 0) {
        return submit(slot);
    }
    Line& line = held_[direction(request.into_device)];
    if (line.empty() && setup_.throttle->admit(request.into_device, request.payload, now)) {
        return submit(slot);
    }
    slots_[slot].held = now;
    line.push(slot);
    setup_.statistics.throttled_requests.add();
}

void Relay::submit(std::uint16_t slot) noexcept {
    slots_[slot].in_flight = true;
    ++in_flight_;
    shadow_.view().put_available(slot);
}

void Relay::try_held(Clock::time_point now) noexcept {
    for (Line& line : held_) {
        while (!line.empty()) {
            const Request& request = slots_[line.front()].request;
            if (!setup_.throttle->admit(request.into_device, request.payload, now)) break;
            leave_line(line, now);
        }
    }
}

void Relay::leave_line(Line& line, Clock::time_point now) noexcept {
    const std::uint16_t slot = line.front();
    line.pop();
    setup_.statistics.throttled_nanoseconds.add(nanoseconds(now - slots_[slot].held));
    submit(slot);
}

void Relay::forward_held(Clock::time_point now) noexcept {
    for (Line& line : held_) {
        while (!line.empty()) leave_line(line, now);
    }
    leave_throttle();
    publish_available();
}

void Relay::discard_held() noexcept {
    for (Line& line : held_) {
        for (; !line.empty(); line.pop()) shadow_.release(line.front());
    }
    leave_throttle();
}

void Relay::publish_available() noexcept {
    if (!shadow_.view().has_unpublished() || !shadow_.view().publish_available()) return;
    setup_.device_kick.signal();
    setup_.statistics.device_kicks.add();
}

bool Relay::complete(Clock::time_point now) noexcept {
    if (device_fault_) return false;
    const auto used = shadow_.view().used();
    if (!used) {
        break_down(DeviceFault::used_index_jumped);
        return false;
    }
    for (std::uint16_t count = 0; count < *used && !device_fault_; ++count) {
        give_back(shadow_.view().take_used(), now);
    }
    if (!guest_.has_unpublished()) return false;
    if (guest_.publish_used()) {
        setup_.guest_call.signal();
        setup_.statistics.interrupts.add();
    } else {
        setup_.statistics.suppressed.add();
    }
    return true;
}

void Relay::give_back(const virtio::UsedElement& element, Clock::time_point now) noexcept {
    if (element.id >= slots_.size() || !slots_[element.id].in_flight) {
        return break_down(DeviceFault::unknown_element);
    }
    Slot& slot = slots_[element.id];
    record(slot, now);
    const std::uint64_t length = std::min<std::uint64_t>(element.length, slot.writable);
    guest_.put_used(slot.guest_head, static_cast<std::uint32_t>(length));
    setup_.statistics.bytes.add(slot.readable + length);
    slot.in_flight = false;
    --in_flight_;
    shadow_.release(static_cast<std::uint16_t>(element.id));
}

void Relay::break_down(DeviceFault fault) noexcept {
    device_fault_ = fault;
    leave_throttle();
}

void Relay::record(const Slot& slot, Clock::time_point now) noexcept {
    RequestStatistics& statistics = setup_.statistics.of(slot.request.kind);
    const std::uint64_t time = nanoseconds(now - slot.taken);
    statistics.nanoseconds.add(time);
    statistics.latency.count(time);
    // The status is for the books only: the guest can write it too.
    if (slot.request.status != nullptr && *slot.request.status != std::byte{0}) {
        statistics.failed.add();
        return;
    }
    statistics.operations.add();
    statistics.bytes.add(slot.request.bytes);
}

bool Relay::prepare_to_sleep() noexcept {
    if (device_fault_) return false;
    const bool used = shadow_.view().request_calls();
    // What waits for room waits for the device, not for the guest's kick.
    const bool available = takes() && !no_room_ && guest_.request_kicks();
    return used || available;
}

void Relay::woken() noexcept {
    shadow_.view().suppress_calls();
    if (takes()) guest_.suppress_kicks();
}

std::optional<virtio::RingIndex> Relay::rewound() const noexcept {
    const virtio::RingIndex base(static_cast<std::uint16_t>(next_avail().value() - in_flight_));
    const bool the_last_ones = std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
        return !slot.in_flight || slot.taken_at - base < in_flight_;
    });
    return the_last_ones ? std::optional(base) : std::nullopt;
}

std::optional<Relay::Clock::time_point> Relay::next_try() const noexcept {
    std::optional<Clock::time_point> earliest;
    for (std::size_t direction = 0; direction < held_.size(); ++direction) {
        if (held_[direction].empty()) continue;
        const auto when = setup_.throttle->when(direction == 1);
        if (when && (!earliest || *when < *earliest)) earliest = when;
    }
    return earliest;
}

}  // namespace viaduct::datapath
