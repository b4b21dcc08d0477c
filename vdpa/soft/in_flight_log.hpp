/// What a queue's engine has in flight, in memory that outlives its process: an engine that takes
/// up the ring of one that was killed does again what that one had taken and not handed back.
///
/// An entry for each head. It says when the head was taken; from the moment its used element is
/// written, also where in the used ring that is. A process can die between any two stores: whether
/// such a head was handed back is then for used.idx to say, which is past its element or is not.
/// What is done twice was never seen done by the driver, so doing it again changes nothing it saw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/virtio/split_ring.hpp"

namespace viaduct::soft {

/// In shared memory, all zero to begin with. One writer, the queue's engine.
struct InFlightEntry {
    enum class State : std::uint8_t { free = 0, taken = 1, answered = 2 };

    std::uint64_t order = 0;          // counts the heads taken from this queue
    std::uint16_t used_position = 0;  // of its used element, once answered
    State state = State::free;
};
static_assert(sizeof(InFlightEntry) == 16);

class InFlightLog {
public:
    /// `entries`: one for each head of the largest ring, and theirs alone.
    explicit InFlightLog(std::span<InFlightEntry> entries);

    void take(std::uint16_t head) noexcept;
    /// Its used element is about to be written at `position`.
    void answer(std::uint16_t head, virtio::RingIndex position) noexcept;
    /// used.idx is past all that were answered.
    void publish() noexcept;
    /// Nothing is in flight: the device was reset.
    void clear() noexcept;

    /// The heads below `ring_size` that were taken and, as used.idx says, not handed back, in the
    /// order in which they were taken; those handed back are free from now on. At most one for
    /// each head, whatever the memory holds.
    [[nodiscard]] std::vector<std::uint16_t> unfinished(virtio::RingIndex used_idx,
                                                        std::uint16_t ring_size);

private:
    std::span<InFlightEntry> entries_;
    std::uint64_t next_order_ = 1;
    std::vector<std::uint16_t> answered_;  // not published
};

}  // namespace viaduct::soft
