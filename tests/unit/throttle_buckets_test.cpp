// The arithmetic of a throttle, in a time of its own.
#include <algorithm>
#include <deque>
#include <ostream>
#include <string>

#include <gmock/gmock.h>

#include "tests/unit/throttle_directions.hpp"
#include "vdpa/datapath/throttle/leaky_bucket.hpp"

namespace viaduct::datapath {
namespace {

using namespace std::chrono_literals;
using TimePoint = LimitBuckets::TimePoint;
using Duration = LimitBuckets::Duration;

/// Somebody who asks for one request after the other, and wakes a little later than it wanted to.
class Source {
public:
    explicit Source(const ThrottleLimits& limits) { buckets.set(limits, now); }

    struct Result {
        std::uint64_t requests = 0;
        std::uint64_t most_requests = 0;  // in any one second
    };
    Result run(bool into_device, std::uint64_t bytes, Duration time, Duration late = 0us) {
        const TimePoint end = now + time;
        Result result;
        std::deque<TimePoint> second;
        while (result.requests < endless) {
            if (const Duration wait = buckets.wait(into_device, now); wait > 0ns) {
                now += wait + late;
            }
            if (now >= end) break;
            buckets.account(into_device, bytes, now);
            ++result.requests;
            second.push_back(now);
            while (second.front() <= now - 1s) second.pop_front();
            result.most_requests = std::max<std::uint64_t>(result.most_requests, second.size());
        }
        now = end;
        return result;
    }
    /// How many may go at this moment.
    std::uint64_t burst(bool into_device, std::uint64_t bytes) {
        std::uint64_t count = 0;
        for (; count < endless && buckets.wait(into_device, now) == 0ns; ++count) {
            buckets.account(into_device, bytes, now);
        }
        return count;
    }

    TimePoint now{1000s};
    LimitBuckets buckets;
};

struct Kind {
    const char* name;
    RateLimit ThrottleLimits::*limit;
    bool bytes;
    bool reads;
    bool writes;

    friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

class ThrottleBuckets : public testing::TestWithParam<Kind> {
protected:
    [[nodiscard]] ThrottleLimits limits(std::uint64_t requests_per_second) const {
        ThrottleLimits limits;
        limits.*GetParam().limit = {.average = in_units(requests_per_second)};
        return limits;
    }
    [[nodiscard]] std::uint64_t in_units(std::uint64_t requests) const {
        return GetParam().bytes ? requests * size : requests;
    }
    static constexpr std::uint64_t size = 4096;
};

TEST_P(ThrottleBuckets, AdmitTheirRateWithinOnePercent) {
    for (const bool direction : {read, write}) {
        if (direction ? !GetParam().writes : !GetParam().reads) continue;
        for (const Duration late : {0us, 70us, 3000us}) {
            for (const std::uint64_t rate : {10U, 333U, 10'000U}) {
                Source source(limits(rate));
                const auto first = source.run(direction, size, 1s, late);
                EXPECT_LE(first.requests, rate + rate / 10 + 1) << rate << " per second";
                const auto seconds = 20'000 / rate + 1;
                const auto result =
                    source.run(direction, size, std::chrono::seconds(seconds), late);
                const auto expected = static_cast<double>(rate * seconds);
                EXPECT_NEAR(static_cast<double>(result.requests), expected, expected / 100)
                    << rate << " per second";
                EXPECT_LE(result.most_requests, rate + rate / 10 + 1) << rate << " per second";
            }
        }
    }
}

TEST_P(ThrottleBuckets, LeaveWhatTheyAreNotForAlone) {
    for (const bool direction : {read, write}) {
        if (direction ? GetParam().writes : GetParam().reads) continue;
        Source source(limits(10));
        for (int i = 0; i < 1000; ++i) {
            ASSERT_EQ(source.buckets.wait(direction, source.now), 0ns);
            source.buckets.account(direction, size, source.now);
        }
        EXPECT_EQ(source.buckets.wait(!direction, source.now), 0ns) << "its own are not used up";
    }
}

TEST_P(ThrottleBuckets, AdmitATenthOfASecondAtOnceAfterSilence) {
    Source source(limits(1000));
    const bool direction = GetParam().writes;
    EXPECT_EQ(source.burst(direction, size), 101U);
    source.now += 20ms;
    EXPECT_EQ(source.burst(direction, size), 20U);
    source.now += 24h;
    EXPECT_EQ(source.burst(direction, size), 101U);
}

TEST_P(ThrottleBuckets, AdmitTheirMaximumAtOnceInABurstWithoutLength) {
    ThrottleLimits limits;
    limits.*GetParam().limit = {.average = in_units(100), .maximum = in_units(5000)};
    Source source(limits);
    const bool direction = GetParam().writes;
    EXPECT_EQ(source.burst(direction, size), 5001U);
    const auto result = source.run(direction, size, 100s, 50us);
    EXPECT_NEAR(static_cast<double>(result.requests), 10'000, 100) << "the burst is over";
    source.now += 25s;
    EXPECT_NEAR(static_cast<double>(source.burst(direction, size)), 2500, 1)
        << "it comes back with the average";
}

TEST_P(ThrottleBuckets, AdmitTheirMaximumPerSecondForTheLengthOfABurst) {
    ThrottleLimits limits;
    limits.*GetParam().limit = {.average = in_units(100), .maximum = in_units(5000), .length = 4};
    Source source(limits);
    const bool direction = GetParam().writes;
    EXPECT_EQ(source.burst(direction, size), 501U) << "a tenth of a second's worth at once";
    const auto burst = source.run(direction, size, 3s, 50us);
    EXPECT_NEAR(static_cast<double>(burst.requests), 15'000, 150);
    EXPECT_LE(burst.most_requests, 5501U);
    // The bucket of 20000 leaks while it is filled: 501 + 4900 t = 20000 after 3.98 s.
    const auto end = source.run(direction, size, 2s, 50us);
    EXPECT_NEAR(static_cast<double>(end.requests), 20'000 + 500 - 501 - 15'000, 150);
    const auto after = source.run(direction, size, 100s, 50us);
    EXPECT_NEAR(static_cast<double>(after.requests), 10'000, 100);
}

TEST_P(ThrottleBuckets, KeepTheirRateWithTheLargestRequestThatIsLargerThanTheBucket) {
    Source source(limits(100));
    const auto result = source.run(GetParam().writes, 1'000'000, 1000s, 200us);
    const double expected = GetParam().bytes ? 100.0 * size * 1000 / 1'000'000 : 100'000;
    EXPECT_NEAR(static_cast<double>(result.requests), expected, expected / 100 + 1);
}

INSTANTIATE_TEST_SUITE_P(
    Of, ThrottleBuckets,
    testing::Values(Kind{"bps", &ThrottleLimits::bps, true, true, true},
                    Kind{"bps_rd", &ThrottleLimits::bps_rd, true, true, false},
                    Kind{"bps_wr", &ThrottleLimits::bps_wr, true, false, true},
                    Kind{"iops", &ThrottleLimits::iops, false, true, true},
                    Kind{"iops_rd", &ThrottleLimits::iops_rd, false, true, false},
                    Kind{"iops_wr", &ThrottleLimits::iops_wr, false, false, true}),
    [](const auto& kind) { return std::string(kind.param.name); });

TEST(ThrottleBuckets, TakeReadsAndWritesFromOneTotal) {
    Source source({.iops = {.average = 100}});
    EXPECT_EQ(source.burst(read, 512), 11U);
    EXPECT_EQ(source.burst(write, 512), 0U);
}

TEST(ThrottleBuckets, ObeyTheTighterOfBytesAndRequests) {
    Source large({.bps = {.average = 1'000'000}, .iops = {.average = 1000}});
    EXPECT_NEAR(static_cast<double>(large.run(read, 10'000, 100s).requests), 10'000, 100);
    Source small({.bps = {.average = 1'000'000}, .iops = {.average = 1000}});
    EXPECT_NEAR(static_cast<double>(small.run(read, 512, 100s).requests), 100'000, 1000);
}

TEST(ThrottleBuckets, CountALargeRequestAsSeveralOfTheGivenSize) {
    const ThrottleLimits limits{.iops = {.average = 1000}, .iops_size = 4096};
    const auto rate = [&](std::uint64_t bytes) {
        return static_cast<double>(Source(limits).run(write, bytes, 100s).requests) / 100;
    };
    EXPECT_NEAR(rate(512), 1000, 10);
    EXPECT_NEAR(rate(4096), 1000, 10);
    EXPECT_NEAR(rate(6144), 1000 / 1.5, 7) << "fractions count too";
    EXPECT_NEAR(rate(65536), 1000.0 / 16, 1);
}

TEST(ThrottleBuckets, TellHowLongTheLimitsTakeForARequest) {
    Source source({.bps = {.average = 1'000'000}, .iops_wr = {.average = 1000}});
    EXPECT_EQ(source.buckets.time_for(read, 10'000), 10ms);
    EXPECT_EQ(source.buckets.time_for(write, 500), 1ms);
}

TEST(ThrottleBuckets, LagOnlyWhenHalfOfEveryBucketIsFree) {
    Source source({.bps = {.average = 1'000'000}, .iops = {.average = 1000}});
    EXPECT_TRUE(source.buckets.lags(read, source.now));
    source.buckets.account(read, 60'000, source.now);
    EXPECT_FALSE(source.buckets.lags(read, source.now));
    source.now += 11ms;
    EXPECT_TRUE(source.buckets.lags(read, source.now));
}

TEST(ThrottleBuckets, KeepWhatTheyHoldWhenLimitsAreSetAgain) {
    const ThrottleLimits limits{.iops = {.average = 1000}};
    Source source(limits);
    EXPECT_EQ(source.burst(read, 512), 101U);
    source.buckets.set(limits, source.now);
    EXPECT_LE(source.burst(read, 512), 1U);
}

TEST(ThrottleBuckets, ForgetWhatDoesNotFitUnderALowerLimit) {
    Source source({.iops = {.average = 1'000'000}});
    source.burst(read, 512);
    source.buckets.set({.iops = {.average = 10}}, source.now);
    source.buckets.account(read, 512, source.now);
    EXPECT_LE(source.buckets.wait(read, source.now), 100ms);
}

TEST(ThrottleBuckets, ForgetWhatTheyHeldWhenTheirLimitIsCleared) {
    Source source({.iops = {.average = 10}});
    source.burst(read, 512);
    source.buckets.set({}, source.now);
    EXPECT_EQ(source.buckets.wait(read, source.now), 0ns);
    source.buckets.set({.iops = {.average = 10}}, source.now);
    EXPECT_EQ(source.burst(read, 512), 2U);
}

TEST(ThrottleBuckets, DoNotCareWhenSomebodysTimeIsALittleBehind) {
    Source source({.iops = {.average = 1000}});
    source.burst(read, 512);
    const Duration wait = source.buckets.wait(read, source.now);
    source.buckets.account(read, 512, source.now - 5ms);
    EXPECT_EQ(source.buckets.wait(read, source.now), wait + 1ms);
}

TEST(ThrottleBuckets, KeepTheirTimesInRangeWhateverARequestsSize) {
    Source source({.bps = {.average = 1}});
    source.buckets.account(read, std::uint64_t{1} << 62, source.now);
    EXPECT_EQ(source.buckets.wait(read, source.now), 24h * 365);
}

TEST(ThrottleBuckets, KeepTheirRateNextToAHugeBurst) {
    // The level is so high that a millisecond's leak is lost in a double's precision.
    Source source({.bps = {.average = 100, .maximum = 1'000'000'000'000'000}});
    source.buckets.account(read, 1'000'000'000'000'000, source.now);
    source.buckets.account(read, 1000, source.now);
    for (int i = 0; i < 1000; ++i) {
        source.now += 1ms;
        (void)source.buckets.wait(read, source.now);
    }
    EXPECT_EQ(source.buckets.wait(read, source.now), 9s);
}

}  // namespace
}  // namespace viaduct::datapath
