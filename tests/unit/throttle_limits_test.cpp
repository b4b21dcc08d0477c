// What an operator may set for a throttle, and what is refused with which words.
#include <functional>
#include <string>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "vdpa/datapath/throttle/limits.hpp"

namespace viaduct::datapath {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint64_t largest = 1'000'000'000'000'000;

std::string refusal(const ThrottleLimits& limits) {
    try {
        check(limits);
    } catch (const Error& error) {
        return error.what();
    }
    return "accepted";
}

/// Every one of the six, set to the same.
void for_each_rate(const RateLimit& rate,
                   const std::function<void(const std::string&, const ThrottleLimits&)>& judge) {
    for (const RateLimitName& name : rate_limit_names) {
        ThrottleLimits limits;
        limits.*name.limit = rate;
        judge(name.argument, limits);
    }
}

TEST(ThrottleLimits, AreNoneAtFirst) {
    EXPECT_FALSE(ThrottleLimits{}.any());
    EXPECT_EQ(refusal({}), "accepted");
}

TEST(ThrottleLimits, AreThereWithAnyAverage) {
    for_each_rate({.average = 1}, [](const std::string& name, const ThrottleLimits& limits) {
        EXPECT_TRUE(limits.any()) << name;
        EXPECT_EQ(refusal(limits), "accepted") << name;
    });
}

TEST(ThrottleLimits, OfBytesAndRequestsGoTogether) {
    EXPECT_EQ(refusal({.bps = {.average = 1000, .maximum = 2000, .length = 10},
                       .iops_rd = {.average = 100},
                       .iops_wr = {.average = 50, .maximum = 60},
                       .iops_size = 4096}),
              "accepted");
}

TEST(ThrottleLimits, OfTheTotalExcludeThoseOfReadsAndWrites) {
    EXPECT_EQ(refusal({.bps = {.average = 5}, .bps_rd = {.average = 6}}),
              "bps (5) and bps_rd (6) exclude each other: limit reads and writes together or each "
              "by itself, and set the other to 0");
    EXPECT_THAT(refusal({.bps = {.average = 5}, .bps_wr = {.average = 6}}),
                HasSubstr("bps (5) and bps_wr (6) exclude each other"));
    EXPECT_THAT(refusal({.iops = {.average = 5}, .iops_rd = {.average = 6}}),
                HasSubstr("iops (5) and iops_rd (6) exclude each other"));
    EXPECT_THAT(refusal({.iops = {.average = 5}, .iops_wr = {.average = 6}}),
                HasSubstr("iops (5) and iops_wr (6) exclude each other"));
}

TEST(ThrottleLimits, SaysThatMaximaOfTheTotalExcludeThoseOfReadsAndWrites) {
    EXPECT_THAT(refusal({.bps = {.average = 5, .maximum = 7}, .bps_rd = {.maximum = 8}}),
                HasSubstr("bps_max (7) and bps_rd_max (8) exclude each other"));
    EXPECT_THAT(refusal({.iops = {.average = 5, .maximum = 7}, .iops_wr = {.maximum = 8}}),
                HasSubstr("iops_max (7) and iops_wr_max (8) exclude each other"));
}

TEST(ThrottleLimits, TakeNoMaximumWithoutItsAverage) {
    for_each_rate({.maximum = 9}, [](const std::string& name, const ThrottleLimits& limits) {
        EXPECT_EQ(refusal(limits), name + "_max is 9, but there is no " + name +
                                       ": a burst needs a limit that it may exceed");
    });
}

TEST(ThrottleLimits, TakeNoMaximumBelowItsAverage) {
    for_each_rate(
        {.average = 10, .maximum = 9}, [](const std::string& name, const ThrottleLimits& limits) {
            EXPECT_EQ(refusal(limits), name + "_max (9) is below " + name +
                                           " (10): give at least as much, or 0 for no burst");
        });
    EXPECT_EQ(refusal({.bps = {.average = 10, .maximum = 10}}), "accepted");
}

TEST(ThrottleLimits, TakeNoBurstLengthWithoutAMaximum) {
    for_each_rate({.average = 10, .length = 2},
                  [](const std::string& name, const ThrottleLimits& limits) {
                      EXPECT_EQ(refusal(limits), name + "_max_length is 2, but there is no " +
                                                     name + "_max: set the rate of the burst too");
                  });
}

TEST(ThrottleLimits, TakeNoBurstLengthOfZero) {
    for_each_rate({.average = 10, .maximum = 20, .length = 0}, [](const std::string& name,
                                                                  const ThrottleLimits& limits) {
        EXPECT_EQ(refusal(limits), name + "_max_length is 0: a burst lasts at least one second");
    });
    EXPECT_THAT(refusal({.bps = {.average = 10, .length = 0}}), HasSubstr("bps_max_length is 0"));
}

TEST(ThrottleLimits, AreAtMostTenToTheFifteenth) {
    for_each_rate({.average = largest}, [](const std::string& name, const ThrottleLimits& limits) {
        EXPECT_EQ(refusal(limits), "accepted") << name;
    });
    for_each_rate(
        {.average = largest + 1}, [](const std::string& name, const ThrottleLimits& limits) {
            EXPECT_EQ(refusal(limits), name +
                                           " is 1000000000000001, more than the largest value, "
                                           "1000000000000000: give less, or 0 for no limit");
        });
    for_each_rate({.average = 1, .maximum = largest + 1},
                  [](const std::string& name, const ThrottleLimits& limits) {
                      EXPECT_THAT(refusal(limits), HasSubstr(name + "_max is 1000000000000001"));
                  });
    EXPECT_THAT(refusal({.iops = {.average = 1}, .iops_size = largest + 1}),
                HasSubstr("iops_size is 1000000000000001"));
}

TEST(ThrottleLimits, BoundWhatABurstMayBring) {
    EXPECT_EQ(refusal({.bps = {.average = 1, .maximum = largest / 4, .length = 4}}), "accepted");
    EXPECT_EQ(refusal({.bps = {.average = 1, .maximum = largest / 4, .length = 5}}),
              "bps_max_length (5 s) is too long for bps_max (250000000000000): their product may "
              "be at most 1000000000000000");
    // 2^60 times 16 wraps to 0.
    EXPECT_THAT(refusal({.iops = {.average = 1, .maximum = 16, .length = std::uint64_t{1} << 60}}),
                AllOf(HasSubstr("iops_max_length"), HasSubstr("too long")));
}

TEST(ThrottleLimits, TakeARequestSizeOnlyForALimitOfRequests) {
    EXPECT_EQ(refusal({.bps = {.average = 10}, .iops_size = 4096}),
              "iops_size is 4096, but there is no limit that it is for: set iops, iops_rd or "
              "iops_wr");
    EXPECT_EQ(refusal({.iops = {.average = 10}, .iops_size = 4096}), "accepted");
    EXPECT_EQ(refusal({.iops_rd = {.average = 10}, .iops_size = 4096}), "accepted");
    EXPECT_EQ(refusal({.iops_wr = {.average = 10}, .iops_size = 4096}), "accepted");
}

}  // namespace
}  // namespace viaduct::datapath
