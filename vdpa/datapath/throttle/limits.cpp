#include "vdpa/datapath/throttle/limits.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"

namespace viaduct::datapath {
namespace {

/// QEMU's bound. Below it, doubles tell units apart.
constexpr std::uint64_t largest_value = 1'000'000'000'000'000;

void check_range(const std::string& name, std::uint64_t value) {
    if (value <= largest_value) return;
    throw Error("{} is {}, more than the largest value, {}: give less, or 0 for no limit", name,
                value, largest_value);
}

void check_exclusive(const std::string& total_name, std::uint64_t total,
                     const std::string& part_name, std::uint64_t part) {
    if (total == 0 || part == 0) return;
    throw Error(
        "{} ({}) and {} ({}) exclude each other: limit reads and writes together or each by "
        "itself, and set the other to 0",
        total_name, total, part_name, part);
}

void check_exclusive(const RateLimitName& total, const RateLimitName& part,
                     const ThrottleLimits& limits) {
    const RateLimit& all = limits.*total.limit;
    const RateLimit& some = limits.*part.limit;
    const std::string all_name = total.argument;
    const std::string some_name = part.argument;
    check_exclusive(all_name, all.average, some_name, some.average);
    check_exclusive(all_name + "_max", all.maximum, some_name + "_max", some.maximum);
}

void check_burst(const std::string& name, const RateLimit& rate) {
    if (rate.length == 0) {
        throw Error("{}_max_length is 0: a burst lasts at least one second", name);
    }
    if (rate.maximum == 0) {
        if (rate.length == 1) return;
        throw Error("{0}_max_length is {1}, but there is no {0}_max: set the rate of the burst too",
                    name, rate.length);
    }
    if (rate.average == 0) {
        throw Error("{0}_max is {1}, but there is no {0}: a burst needs a limit that it may exceed",
                    name, rate.maximum);
    }
    if (rate.maximum < rate.average) {
        throw Error("{0}_max ({1}) is below {0} ({2}): give at least as much, or 0 for no burst",
                    name, rate.maximum, rate.average);
    }
    if (rate.length > largest_value / rate.maximum) {
        throw Error(
            "{0}_max_length ({1} s) is too long for {0}_max ({2}): their product may be at most "
            "{3}",
            name, rate.length, rate.maximum, largest_value);
    }
}

}  // namespace

bool ThrottleLimits::any() const noexcept {
    return std::any_of(
        rate_limit_names.begin(), rate_limit_names.end(),
        [this](const RateLimitName& name) { return (this->*name.limit).average != 0; });
}

void check(const ThrottleLimits& limits) {
    for (const RateLimitName& name : rate_limit_names) {
        const RateLimit& rate = limits.*name.limit;
        check_range(name.argument, rate.average);
        check_range(name.argument + std::string("_max"), rate.maximum);
    }
    for (const std::size_t total : {0U, 3U}) {
        check_exclusive(rate_limit_names[total], rate_limit_names[total + 1], limits);
        check_exclusive(rate_limit_names[total], rate_limit_names[total + 2], limits);
    }
    for (const RateLimitName& name : rate_limit_names) {
        check_burst(name.argument, limits.*name.limit);
    }
    check_range("iops_size", limits.iops_size);
    if (limits.iops_size == 0) return;
    if (limits.iops.average == 0 && limits.iops_rd.average == 0 && limits.iops_wr.average == 0) {
        throw Error(
            "iops_size is {}, but there is no limit that it is for: set iops, iops_rd or iops_wr",
            limits.iops_size);
    }
}

}  // namespace viaduct::datapath
