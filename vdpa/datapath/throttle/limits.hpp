/// What an operator may set for a disk, argument for argument as QEMU's block_set_io_throttle:
/// bytes per second and requests per second, each for all requests, for reads and for writes. An
/// average of 0 is no limit.
///
/// check() throws an Error that names the arguments as the command does.
#pragma once

#include <array>
#include <cstdint>

namespace viaduct::datapath {

struct RateLimit {
    std::uint64_t average = 0;  // per second
    std::uint64_t maximum =
        0;                     // per second, during a burst; 0: a tenth of a second's worth at once
    std::uint64_t length = 1;  // seconds that a burst may last at its maximum

    bool operator==(const RateLimit&) const = default;
};

struct ThrottleLimits {
    RateLimit bps = {};  // bytes
    RateLimit bps_rd = {};
    RateLimit bps_wr = {};
    RateLimit iops = {};  // requests
    RateLimit iops_rd = {};
    RateLimit iops_wr = {};
    std::uint64_t iops_size = 0;  // bytes that count as one request; 0: however large, it is one

    /// Whether there is a limit at all.
    [[nodiscard]] bool any() const noexcept;
    bool operator==(const ThrottleLimits&) const = default;
};

struct RateLimitName {
    const char* argument;  // of the command; with _max and _max_length for the other two
    const char* option;    // at start; with -max and -max-length
    RateLimit ThrottleLimits::*limit;
};

inline constexpr std::array<RateLimitName, 6> rate_limit_names{{
    {"bps", "bps-total", &ThrottleLimits::bps},
    {"bps_rd", "bps-read", &ThrottleLimits::bps_rd},
    {"bps_wr", "bps-write", &ThrottleLimits::bps_wr},
    {"iops", "iops-total", &ThrottleLimits::iops},
    {"iops_rd", "iops-read", &ThrottleLimits::iops_rd},
    {"iops_wr", "iops-write", &ThrottleLimits::iops_wr},
}};

/// Throws Error when the limits contradict each other or are out of range.
void check(const ThrottleLimits& limits);

}  // namespace viaduct::datapath
