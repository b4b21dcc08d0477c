// What `viaductctl top` makes of two looks at the counters.
#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "vmm/ctl/top_rows.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::DoubleEq;
using testing::HasSubstr;
using testing::Optional;
using testing::SizeIs;

const Histogram empty_histogram;

TEST(CtlHistogram, ComesFromAReplyWhoseSizesFit) {
    EXPECT_EQ(histogram_of(json::parse(R"({"boundaries": [10, 20], "bins": [1, 2, 3]})")),
              (Histogram{.boundaries = {10, 20}, .bins = {1, 2, 3}}));
    EXPECT_EQ(histogram_of(json::parse(R"({"boundaries": [10, 20], "bins": [1, 2]})")),
              empty_histogram);
    EXPECT_EQ(histogram_of(json::parse(R"({"boundaries": [10], "bins": [1, "x"]})")),
              empty_histogram);
    EXPECT_EQ(histogram_of(nullptr), empty_histogram);
}

TEST(CtlHistogram, DifferenceIsWhatWasCountedInBetween) {
    const Histogram before{.boundaries = {10, 20}, .bins = {1, 2, 3}};
    const Histogram after{.boundaries = {10, 20}, .bins = {1, 5, 4}};
    EXPECT_EQ(difference(after, before), (Histogram{.boundaries = {10, 20}, .bins = {0, 3, 1}}));
    EXPECT_EQ(difference(after, empty_histogram), after);
    EXPECT_EQ(difference(before, after), empty_histogram) << "it was counted anew";
    EXPECT_EQ(difference(after, Histogram{.boundaries = {10, 21}, .bins = {0, 0, 0}}),
              empty_histogram);
}

TEST(CtlHistogram, SumIsOfBothUnlessTheirBoundariesDiffer) {
    const Histogram left{.boundaries = {10}, .bins = {1, 2}};
    EXPECT_EQ(sum(left, {.boundaries = {10}, .bins = {3, 4}}),
              (Histogram{.boundaries = {10}, .bins = {4, 6}}));
    EXPECT_EQ(sum(left, empty_histogram), left);
    EXPECT_EQ(sum(empty_histogram, left), left);
}

TEST(CtlHistogram, PercentilesAreSpreadEvenlyWithinABin) {
    const Histogram histogram{.boundaries = {100, 200, 400}, .bins = {50, 0, 50, 0}};
    EXPECT_THAT(percentile(histogram, 0.25), Optional(DoubleEq(50)));
    EXPECT_THAT(percentile(histogram, 0.5), Optional(DoubleEq(100)));
    EXPECT_THAT(percentile(histogram, 0.75), Optional(DoubleEq(300)));
    EXPECT_THAT(percentile(histogram, 1), Optional(DoubleEq(400)));
}

TEST(CtlHistogram, ThePercentileOfASingleBinLiesWithinIt) {
    const Histogram histogram{.boundaries = {100, 200}, .bins = {0, 1, 0}};
    EXPECT_THAT(percentile(histogram, 0.5), Optional(DoubleEq(150)));
    EXPECT_THAT(percentile(histogram, 0.99), Optional(DoubleEq(199)));
}

TEST(CtlHistogram, TheLastBinCountsAsItsBeginning) {
    EXPECT_THAT(percentile({.boundaries = {100, 200}, .bins = {1, 0, 99}}, 0.99),
                Optional(DoubleEq(200)));
}

TEST(CtlHistogram, WithoutACountHasNoPercentile) {
    EXPECT_EQ(percentile(empty_histogram, 0.5), std::nullopt);
    EXPECT_EQ(percentile({.boundaries = {100}, .bins = {0, 0}}, 0.5), std::nullopt);
}

QueueCounters counters(std::uint64_t index, std::uint64_t scale) {
    return {.index = index,
            .reads = 100 * scale,
            .writes = 10 * scale,
            .bytes_read = 409'600 * scale,
            .bytes_written = 40'960 * scale,
            .latency = {.boundaries = {1000, 2000}, .bins = {0, 110 * scale, 0}},
            .throttled_ns = 1'000'000 * scale,
            .kicks = 5 * scale,
            .interrupts = 6 * scale};
}

/// Of one device.
Sample sample(milliseconds when, const std::string& path, std::vector<QueueCounters> queues) {
    return {.when = steady_clock::time_point(when),
            .devices = {{.id = "disk0", .path = path, .queues = std::move(queues)}}};
}

TEST(CtlTop, RatesArePerSecondOfTheTimeBetween) {
    const auto rows = rows_between(sample(milliseconds(0), "slow", {counters(0, 1)}),
                                   sample(milliseconds(500), "slow", {counters(0, 2)}));
    ASSERT_THAT(rows, SizeIs(1));
    EXPECT_EQ(rows[0].device, "disk0");
    EXPECT_EQ(rows[0].queue, std::nullopt) << "a single queue is not shown twice";
    EXPECT_THAT(rows[0].reads, Optional(DoubleEq(200)));
    EXPECT_THAT(rows[0].writes, Optional(DoubleEq(20)));
    EXPECT_THAT(rows[0].bytes_read, Optional(DoubleEq(819'200)));
    EXPECT_THAT(rows[0].bytes_written, Optional(DoubleEq(81'920)));
    EXPECT_THAT(rows[0].p50, Optional(DoubleEq(1500)));
    EXPECT_THAT(rows[0].p99, Optional(DoubleEq(1990)));
    EXPECT_THAT(rows[0].throttled, Optional(DoubleEq(2'000'000)));
    EXPECT_THAT(rows[0].kicks, Optional(DoubleEq(10)));
    EXPECT_THAT(rows[0].interrupts, Optional(DoubleEq(12)));
}

TEST(CtlTop, ADeviceWithSeveralQueuesHasATotalAndARowForEach) {
    const auto rows =
        rows_between(sample(milliseconds(0), "slow", {counters(0, 1), counters(1, 1)}),
                     sample(milliseconds(1000), "slow", {counters(0, 2), counters(1, 4)}));
    ASSERT_THAT(rows, SizeIs(3));
    EXPECT_EQ(rows[0].queue, std::nullopt);
    EXPECT_THAT(rows[0].reads, Optional(DoubleEq(400)));
    EXPECT_THAT(rows[0].p50, Optional(DoubleEq(1500)));
    EXPECT_EQ(rows[1].queue, 0U);
    EXPECT_THAT(rows[1].reads, Optional(DoubleEq(100)));
    EXPECT_EQ(rows[2].queue, 1U);
    EXPECT_THAT(rows[2].reads, Optional(DoubleEq(300)));
}

void expect_nothing_counted(const TopRow& row) {
    for (const auto& value : {row.reads, row.writes, row.bytes_read, row.bytes_written, row.p50,
                              row.p99, row.throttled, row.kicks, row.interrupts}) {
        EXPECT_EQ(value, std::nullopt);
    }
}

TEST(CtlTop, OnTheFastPathNothingIsCounted) {
    const auto rows = rows_between(sample(milliseconds(0), "fast", {counters(0, 1)}),
                                   sample(milliseconds(1000), "fast", {counters(0, 1)}));
    ASSERT_THAT(rows, SizeIs(1));
    EXPECT_EQ(rows[0].path, "fast");
    expect_nothing_counted(rows[0]);
    EXPECT_THAT(top_table(rows), HasSubstr("disk0     all  fast        -         -"));
}

TEST(CtlTop, CountersThatBeganAnewAreNotShownAsRates) {
    const auto rows = rows_between(sample(milliseconds(0), "slow", {counters(0, 2)}),
                                   sample(milliseconds(1000), "slow", {counters(0, 1)}));
    expect_nothing_counted(rows.at(0));
}

TEST(CtlTop, ADeviceThatWasNotThereBeforeHasNoRatesYet) {
    const auto rows = rows_between({.when = {}, .devices = {}},
                                   sample(milliseconds(1000), "slow", {counters(0, 1)}));
    expect_nothing_counted(rows.at(0));
}

TEST(CtlTop, AnIdleQueueHasRatesButNoLatency) {
    const auto rows = rows_between(sample(milliseconds(0), "slow", {counters(0, 1)}),
                                   sample(milliseconds(1000), "slow", {counters(0, 1)}));
    EXPECT_THAT(rows.at(0).reads, Optional(DoubleEq(0)));
    EXPECT_EQ(rows.at(0).p50, std::nullopt);
}

TEST(CtlTop, ADeviceWithoutBlockStatisticsShowsItsNotifications) {
    QueueCounters before;
    before.kicks = 1;
    before.interrupts = 2;
    QueueCounters after;
    after.kicks = 4;
    after.interrupts = 4;
    const auto rows = rows_between(sample(milliseconds(0), "slow", {before}),
                                   sample(milliseconds(1000), "slow", {after}));
    EXPECT_EQ(rows.at(0).reads, std::nullopt);
    EXPECT_THAT(rows.at(0).kicks, Optional(DoubleEq(3)));
    EXPECT_THAT(rows.at(0).interrupts, Optional(DoubleEq(2)));
}

TEST(CtlTop, TableAndJsonSayTheSame) {
    const auto rows = rows_between(sample(milliseconds(0), "slow", {counters(0, 1)}),
                                   sample(milliseconds(1000), "slow", {counters(0, 2)}));
    EXPECT_EQ(top_table(rows),
              "device  queue  path  reads/s  writes/s       read   written      p50      p99  "
              "throttled  kicks/s  irqs/s\n"
              "disk0     all  slow      100      10.0  400 KiB/s  40 KiB/s  1.50 µs  1.99 µs  "
              "1.00 ms/s     5.00    6.00\n");
    const auto list = top_json(rows);
    ASSERT_THAT(list, SizeIs(1));
    EXPECT_EQ(list[0].at("queue"), nullptr);
    EXPECT_EQ(list[0].at("reads-per-second"), 100.0);
    EXPECT_EQ(list[0].at("throttled-ns-per-second"), 1e6);
}

TEST(CtlTop, SamplesComeFromBothQueriesByDeviceAndQueue) {
    const auto vdpa = json::parse(R"([
        {"id": "disk0", "datapath": "slow", "queues": [
            {"index": 0, "ready": true, "counters": {"kicks": 1, "interrupts": 2, "throttled-ns": 3}},
            {"index": 1, "ready": true, "counters": {"kicks": 4}},
            {"index": 2, "ready": false}]},
        {"id": "net0", "datapath": "fast", "queues": [{"index": 0, "ready": true}]}])");
    const auto blocks = json::parse(R"([{"device": "disk0", "qdev": "disk0", "queues": [
        {"index": 1, "stats": {"rd_operations": 7, "wr_bytes": 8,
            "rd_latency_histogram": {"boundaries": [5], "bins": [1, 2]},
            "wr_latency_histogram": {"boundaries": [5], "bins": [3, 4]}}}]}])");
    const Sample taken = sample_of(steady_clock::time_point(milliseconds(9)), vdpa, blocks);
    ASSERT_THAT(taken.devices, SizeIs(2));
    const DeviceCounters& disk = taken.devices[0];
    EXPECT_EQ(disk.path, "slow");
    ASSERT_THAT(disk.queues, SizeIs(2)) << "a queue that is not set up is left out";
    EXPECT_THAT(disk.queues[0].kicks, Optional(1U));
    EXPECT_THAT(disk.queues[0].throttled_ns, Optional(3U));
    EXPECT_EQ(disk.queues[0].reads, std::nullopt);
    EXPECT_THAT(disk.queues[1].reads, Optional(7U));
    EXPECT_THAT(disk.queues[1].bytes_written, Optional(8U));
    EXPECT_EQ(disk.queues[1].latency, (Histogram{.boundaries = {5}, .bins = {4, 6}}));
    EXPECT_EQ(taken.devices[1].id, "net0");
    EXPECT_EQ(taken.devices[1].queues.at(0).kicks, std::nullopt);
}

}  // namespace
}  // namespace viaduct::ctl
