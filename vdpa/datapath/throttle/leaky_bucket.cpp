#include "vdpa/datapath/throttle/leaky_bucket.hpp"

#include <algorithm>

namespace viaduct::datapath {
namespace {

using Seconds = std::chrono::duration<double>;

/// Without a maximum, this much of a second may go at once: a thread that sleeps wakes later than
/// it wanted to, and requests come in batches.
constexpr double default_burst = 0.1;

/// Keeps time points within their type.
constexpr Seconds longest_wait = std::chrono::hours(24 * 365);

}  // namespace

void LeakyBucket::shape(double rate, double size, TimePoint now) noexcept {
    level_ = rate > 0 ? std::min(level(now), size) : 0;
    since_ = std::max(since_, now);
    rate_ = rate;
    size_ = size;
}

void LeakyBucket::add(double units, TimePoint now) noexcept {
    if (rate_ <= 0) return;
    level_ = level(now) + units;
    since_ = std::max(since_, now);
}

double LeakyBucket::level(TimePoint now) const noexcept {
    const Seconds elapsed = std::max(now, since_) - since_;
    return std::max(level_ - rate_ * elapsed.count(), 0.0);
}

LeakyBucket::Duration LeakyBucket::wait(TimePoint now) const noexcept {
    return time_for(std::max(level(now) - size_, 0.0));
}

bool LeakyBucket::half_empty(TimePoint now) const noexcept {
    return rate_ <= 0 || level(now) <= size_ / 2;
}

LeakyBucket::Duration LeakyBucket::time_for(double units) const noexcept {
    if (rate_ <= 0) return Duration::zero();
    return std::chrono::duration_cast<Duration>(std::min(Seconds(units / rate_), longest_wait));
}

void LimitBuckets::set(const ThrottleLimits& limits, TimePoint now) noexcept {
    shape(bytes_.total, limits.bps, now);
    shape(bytes_.directions[0], limits.bps_rd, now);
    shape(bytes_.directions[1], limits.bps_wr, now);
    shape(requests_.total, limits.iops, now);
    shape(requests_.directions[0], limits.iops_rd, now);
    shape(requests_.directions[1], limits.iops_wr, now);
    iops_size_ = static_cast<double>(limits.iops_size);
}

void LimitBuckets::shape(Rate& rate, const RateLimit& limit, TimePoint now) noexcept {
    const auto average = static_cast<double>(limit.average);
    const auto maximum = static_cast<double>(limit.maximum);
    const bool bursts = limit.maximum != 0;
    const bool long_bursts = bursts && limit.length > 1;
    rate.average.shape(
        average, bursts ? maximum * static_cast<double>(limit.length) : average * default_burst,
        now);
    rate.burst.shape(long_bursts ? maximum : 0, maximum * default_burst, now);
}

LimitBuckets::Duration LimitBuckets::wait(bool into_device, TimePoint now) const noexcept {
    const std::size_t d = direction(into_device);
    return std::max({wait(bytes_.total, now), wait(bytes_.directions[d], now),
                     wait(requests_.total, now), wait(requests_.directions[d], now)});
}

LimitBuckets::Duration LimitBuckets::wait(const Rate& rate, TimePoint now) noexcept {
    return std::max(rate.average.wait(now), rate.burst.wait(now));
}

bool LimitBuckets::lags(bool into_device, TimePoint now) const noexcept {
    const std::size_t d = direction(into_device);
    return lags(bytes_.total, now) && lags(bytes_.directions[d], now) &&
           lags(requests_.total, now) && lags(requests_.directions[d], now);
}

bool LimitBuckets::lags(const Rate& rate, TimePoint now) noexcept {
    return rate.average.half_empty(now) && rate.burst.half_empty(now);
}

LimitBuckets::Duration LimitBuckets::time_for(bool into_device,
                                              std::uint64_t bytes) const noexcept {
    const std::size_t d = direction(into_device);
    const auto size = static_cast<double>(bytes);
    const double requests = requests_of(bytes);
    return std::max({bytes_.total.average.time_for(size),
                     bytes_.directions[d].average.time_for(size),
                     requests_.total.average.time_for(requests),
                     requests_.directions[d].average.time_for(requests)});
}

void LimitBuckets::account(bool into_device, std::uint64_t bytes, TimePoint now) noexcept {
    const std::size_t d = direction(into_device);
    const auto size = static_cast<double>(bytes);
    const double requests = requests_of(bytes);
    account(bytes_.total, size, now);
    account(bytes_.directions[d], size, now);
    account(requests_.total, requests, now);
    account(requests_.directions[d], requests, now);
}

void LimitBuckets::account(Rate& rate, double units, TimePoint now) noexcept {
    rate.average.add(units, now);
    rate.burst.add(units, now);
}

double LimitBuckets::requests_of(std::uint64_t bytes) const noexcept {
    return iops_size_ > 0 ? std::max(static_cast<double>(bytes) / iops_size_, 1.0) : 1.0;
}

}  // namespace viaduct::datapath
