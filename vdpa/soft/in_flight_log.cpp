#include "vdpa/soft/in_flight_log.hpp"

#include <algorithm>
#include <atomic>

namespace viaduct::soft {
namespace {

using State = InFlightEntry::State;

/// release: who finds the state, in this process's memory or after its death, finds what was
/// stored before it. (A kill takes effect between two instructions; this keeps the compiler's
/// order the program's.)
void set_state(InFlightEntry& entry, State state) noexcept {
    std::atomic_ref(entry.state).store(state, std::memory_order_release);
}

State state_of(InFlightEntry& entry) noexcept {
    return std::atomic_ref(entry.state).load(std::memory_order_acquire);
}

/// Whether used.idx has passed the element. An element that was not published lies less than a
/// ring's length behind used.idx's next values: the distance is a small negative number, or 0.
bool is_past(virtio::RingIndex used_idx, std::uint16_t position) noexcept {
    return static_cast<std::int16_t>(used_idx - virtio::RingIndex(position)) > 0;
}

}  // namespace

InFlightLog::InFlightLog(std::span<InFlightEntry> entries) : entries_(entries) {
    answered_.reserve(entries.size());
}

void InFlightLog::take(std::uint16_t head) noexcept {
    InFlightEntry& entry = entries_[head];
    entry.order = next_order_++;
    set_state(entry, State::taken);
}

void InFlightLog::answer(std::uint16_t head, virtio::RingIndex position) noexcept {
    InFlightEntry& entry = entries_[head];
    entry.used_position = position.value();
    set_state(entry, State::answered);
    answered_.push_back(head);  // reserved: an entry for each head
}

void InFlightLog::publish() noexcept {
    // After used.idx, a seq_cst store.
    for (const std::uint16_t head : answered_) set_state(entries_[head], State::free);
    answered_.clear();
}

void InFlightLog::clear() noexcept {
    answered_.clear();
    for (InFlightEntry& entry : entries_) set_state(entry, State::free);
}

std::vector<std::uint16_t> InFlightLog::unfinished(virtio::RingIndex used_idx,
                                                   std::uint16_t ring_size) {
    std::vector<std::uint16_t> heads;
    const std::size_t count = std::min<std::size_t>(ring_size, entries_.size());
    for (std::size_t head = 0; head < count; ++head) {
        InFlightEntry& entry = entries_[head];
        const State state = state_of(entry);
        if (state == State::answered && is_past(used_idx, entry.used_position)) {
            set_state(entry, State::free);
        } else if (state != State::free) {
            heads.push_back(static_cast<std::uint16_t>(head));
        }
    }
    std::ranges::sort(heads, {}, [this](std::uint16_t head) { return entries_[head].order; });
    if (!heads.empty()) next_order_ = entries_[heads.back()].order + 1;
    return heads;
}

}  // namespace viaduct::soft
