/// What has gone through the relay of one queue since its device was opened. The relay's thread
/// counts, any may read meanwhile; the fast path has no part in it and costs nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/latency_histogram.hpp"
#include "vdpa/datapath/personality/personality.hpp"

namespace viaduct::datapath {

/// A count with one writer.
class Counter {
public:
    void add(std::uint64_t amount = 1) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t value() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_ = 0;
};

/// Requests of one kind.
struct RequestStatistics {
    Counter operations;  // carried out
    Counter failed;      // answered with an error
    Counter bytes;       // of what was carried out
    // From the taking to the completion, the throttle's time included; of both.
    Counter nanoseconds;
    LatencyHistogram latency;
};

struct QueueStatistics {
    Counter kicks;               // by the guest
    Counter spurious_kicks;      // of those, with nothing to be taken
    Counter batches;             // of chains that were taken at once
    Counter chains;              // taken from the guest
    Counter bytes;               // that the device was given to read, and those it has written
    Counter device_kicks;        // sent
    Counter interrupts;          // sent to the guest
    Counter suppressed;          // batches of completions for which the guest wanted none
    Counter device_calls;        // received
    Counter throttled_requests;  // that had to wait
    Counter throttled_nanoseconds;
    Counter faults;  // stops because the guest's ring made no sense
    std::array<RequestStatistics, request_kinds> requests;

    [[nodiscard]] const RequestStatistics& of(RequestKind kind) const noexcept {
        return requests[static_cast<std::size_t>(kind)];
    }
    [[nodiscard]] RequestStatistics& of(RequestKind kind) noexcept {
        return requests[static_cast<std::size_t>(kind)];
    }
};

}  // namespace viaduct::datapath
