/// The arithmetic of limits. A request goes when no bucket of its is over-full, and is then poured
/// into them, whatever its size: so the level may exceed the size by what one request brought, and
/// who comes late loses nothing, unless a bucket ran dry meanwhile.
///
/// Units are bytes or requests; time is what callers say it is, and may differ a little between
/// them: a bucket's time does not go backwards.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "vdpa/datapath/throttle/limits.hpp"

namespace viaduct::datapath {

class LeakyBucket {
public:
    using TimePoint = std::chrono::steady_clock::time_point;
    using Duration = std::chrono::steady_clock::duration;

    /// Leaks at `rate` units per second and holds `size`. Rate 0: holds anything. What is in it
    /// stays, as far as there is room.
    void shape(double rate, double size, TimePoint now) noexcept;
    void add(double units, TimePoint now) noexcept;

    /// Until it is not over-full; zero when it is not. At most a year.
    [[nodiscard]] Duration wait(TimePoint now) const noexcept;
    [[nodiscard]] bool half_empty(TimePoint now) const noexcept;
    /// How long it takes so many units to leak out.
    [[nodiscard]] Duration time_for(double units) const noexcept;

private:
    [[nodiscard]] double level(TimePoint now) const noexcept;

    double rate_ = 0;
    double size_ = 0;
    double level_ = 0;  // at since_
    TimePoint since_;
};

/// Where a direction has its place in arrays of two: reads, then writes.
constexpr std::size_t direction(bool into_device) noexcept {
    return into_device ? 1 : 0;
}

/// The buckets of ThrottleLimits. `into_device` is a write; anything else is a read.
class LimitBuckets {
public:
    using TimePoint = LeakyBucket::TimePoint;
    using Duration = LeakyBucket::Duration;

    /// What the buckets hold stays, as far as there is room: to set limits again and again is no
    /// way around them.
    void set(const ThrottleLimits& limits, TimePoint now) noexcept;

    /// How long a request has to wait; zero: it may go.
    [[nodiscard]] Duration wait(bool into_device, TimePoint now) const noexcept;
    /// Whether much less went than was allowed.
    [[nodiscard]] bool lags(bool into_device, TimePoint now) const noexcept;
    /// How long the limits take for a request of that size.
    [[nodiscard]] Duration time_for(bool into_device, std::uint64_t bytes) const noexcept;
    /// A request goes.
    void account(bool into_device, std::uint64_t bytes, TimePoint now) noexcept;

private:
    struct Rate {
        LeakyBucket average;
        LeakyBucket burst;  // in use when a burst has a length: bounds its rate
    };
    struct Unit {
        Rate total;
        std::array<Rate, 2> directions;  // read, write
    };

    static void shape(Rate& rate, const RateLimit& limit, TimePoint now) noexcept;
    [[nodiscard]] static Duration wait(const Rate& rate, TimePoint now) noexcept;
    [[nodiscard]] static bool lags(const Rate& rate, TimePoint now) noexcept;
    static void account(Rate& rate, double units, TimePoint now) noexcept;
    [[nodiscard]] double requests_of(std::uint64_t bytes) const noexcept;

    Unit bytes_;
    Unit requests_;
    double iops_size_ = 0;
};

}  // namespace viaduct::datapath
