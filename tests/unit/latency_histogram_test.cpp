#include "base/latency_histogram.hpp"

#include <gtest/gtest.h>

namespace viaduct {
namespace {

constexpr unsigned last = LatencyHistogram::bins - 1;

TEST(LatencyHistogram, EveryBinBeginsAtItsLowerBound) {
    EXPECT_EQ(LatencyHistogram::lower_bound(0), 0U);
    EXPECT_EQ(LatencyHistogram::lower_bound(1), 1024U);
    for (unsigned bin = 1; bin <= last; ++bin) {
        const auto bound = LatencyHistogram::lower_bound(bin);
        EXPECT_EQ(LatencyHistogram::bin_of(bound), bin) << bound;
        EXPECT_EQ(LatencyHistogram::bin_of(bound - 1), bin - 1) << bound - 1;
    }
}

TEST(LatencyHistogram, FourBinsAreAFactorOfTwoAndNoneIsWiderThanAQuarter) {
    for (unsigned bin = 1; bin + 4 <= last; ++bin) {
        const auto bound = LatencyHistogram::lower_bound(bin);
        EXPECT_EQ(LatencyHistogram::lower_bound(bin + 4), 2 * bound);
        EXPECT_LE(4 * (LatencyHistogram::lower_bound(bin + 1) - bound), bound);
    }
}

TEST(LatencyHistogram, ReachesFromAMicrosecondTo17Seconds) {
    EXPECT_EQ(LatencyHistogram::bin_of(0), 0U);
    EXPECT_EQ(LatencyHistogram::bin_of(1023), 0U);
    EXPECT_EQ(LatencyHistogram::lower_bound(last), std::uint64_t{1} << 34U);
    EXPECT_EQ(LatencyHistogram::bin_of(20'000'000'000), last);
    EXPECT_EQ(LatencyHistogram::bin_of(~std::uint64_t{0}), last);
}

TEST(LatencyHistogram, CountsEachInItsBin) {
    LatencyHistogram histogram;
    for (const std::uint64_t nanoseconds : {0ULL, 1023ULL, 1024ULL, 1279ULL, 1280ULL, ~0ULL}) {
        histogram.count(nanoseconds);
    }
    EXPECT_EQ(histogram[0], 2U);
    EXPECT_EQ(histogram[1], 2U);
    EXPECT_EQ(histogram[2], 1U);
    EXPECT_EQ(histogram[3], 0U);
    EXPECT_EQ(histogram[last], 1U);
}

}  // namespace
}  // namespace viaduct
