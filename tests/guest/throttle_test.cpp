// Limits hold what they say: measured at the counters, under a guest that wants twice as much.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "tests/guest/qmp_machine.hpp"
#include "tests/support/deadlines.hpp"
#include "tests/support/qmp_watch.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

namespace json = boost::json;
using tests::QmpClient;
using Clock = std::chrono::steady_clock;

constexpr double sector = 512;  // bytes of each of the guest's requests

/// What a limit allows of what the disk can do without one. Requests that wait cost more than those
/// that do not: an emulated machine (tests/guest/run) has not always enough for half as many.
double part_of_capacity() {
    return std::getenv("VIADUCT_EMULATED") == nullptr ? 0.4 : 0.2;
}

Seconds window() {
    return Seconds(repeated(1) > 1 ? 20 : 2);
}

/// What a disk has done so far, at some time between two.
struct Reading {
    Clock::time_point before;
    Clock::time_point after;
    double reads;
    double writes;
    double bytes_read;
    double bytes_written;
};

Reading read_counters(QmpClient& qmp, unsigned disk = 0) {
    const auto before = Clock::now();
    const auto all = qmp.execute("query-blockstats");
    const auto after = Clock::now();
    const auto& stats = all.at(disk).at("stats");
    const auto number = [&](const char* name) { return stats.at(name).to_number<double>(); };
    return {before,
            after,
            number("rd_operations"),
            number("wr_operations"),
            number("rd_bytes"),
            number("wr_bytes")};
}

Seconds between(const Reading& from, const Reading& to) {
    return (to.before + (to.after - to.before) / 2) -
           (from.before + (from.after - from.before) / 2);
}

/// What a limit is about.
struct Limit {
    const char* argument;
    double (*counted)(const Reading&);
    double unit;  // of one request
};

constexpr std::array<Limit, 6> limits{{
    {"iops", [](const Reading& all) { return all.reads + all.writes; }, 1},
    {"iops_rd", [](const Reading& all) { return all.reads; }, 1},
    {"iops_wr", [](const Reading& all) { return all.writes; }, 1},
    {"bps", [](const Reading& all) { return all.bytes_read + all.bytes_written; }, sector},
    {"bps_rd", [](const Reading& all) { return all.bytes_read; }, sector},
    {"bps_wr", [](const Reading& all) { return all.bytes_written; }, sector},
}};

void set_limit(QmpClient& qmp, const std::string& argument, double rate, unsigned disk = 0,
               const std::string& group = "") {
    json::object arguments{{"id", "disk" + std::to_string(disk)}};
    for (const Limit& limit : limits) {
        const bool is_set = limit.argument == argument;
        arguments[limit.argument] = is_set ? static_cast<std::uint64_t>(rate) : 0;
    }
    if (!group.empty()) arguments["group"] = group;
    (void)qmp.execute("block_set_io_throttle", arguments);
}

double rate_between(const Limit& limit, const Reading& from, const Reading& to) {
    return (limit.counted(to) - limit.counted(from)) / between(from, to).count();
}

/// Readings over the window, often enough for every second to be looked at.
std::vector<Reading> watch(QmpClient& qmp, Seconds duration) {
    constexpr std::chrono::milliseconds rest{50};
    std::vector<Reading> readings{read_counters(qmp)};
    while (between(readings.front(), readings.back()) < duration) {
        std::this_thread::sleep_for(rest);
        readings.push_back(read_counters(qmp));
    }
    return readings;
}

/// The most that was surely counted within a second.
double most_in_a_second(const Limit& limit, const std::vector<Reading>& readings) {
    double most = 0;
    for (auto from = readings.begin(); from != readings.end(); ++from) {
        for (auto to = from; to != readings.end() && to->after - from->before <= Seconds(1); ++to) {
            most = std::max(most, limit.counted(*to) - limit.counted(*from));
        }
    }
    return most;
}

/// Requests per second without a limit, on the slow path.
double capacity(QmpMachine& machine) {
    (void)machine.qmp().execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", "slow"}});
    const auto from = read_counters(machine.qmp());
    std::this_thread::sleep_for(Seconds(1));
    return rate_between(limits[0], from, read_counters(machine.qmp()));
}

void expect_rate(double measured, double wanted, double tolerance, const std::string& what) {
    const auto figures = fmt::format("{}: {:.2f} where {:.2f} is right", what, measured, wanted);
    EXPECT_TRUE(keeps_deadline(std::abs(measured / wanted - 1) <= tolerance, figures)) << figures;
}

class ThrottleAccuracy : public testing::TestWithParam<Limit> {};

TEST_P(ThrottleAccuracy, IsWithinThreePercentAndNoSecondGoesBeyondTheBurst) {
    const Limit& limit = GetParam();
    QmpMachine machine("deep-io write=on tick=1000 queues=2 depth=16", {"queues=2"});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    // Half of the requests are reads: a limit for one kind alone allows as many of the other.
    const bool is_of_one_kind = std::string_view(limit.argument).find('_') != std::string::npos;
    const double unthrottled = capacity(machine) * (is_of_one_kind ? 0.5 : 1);
    const double rate = std::floor(unthrottled * part_of_capacity()) * limit.unit;
    ASSERT_TRUE(
        keeps_deadline(rate > 100 * limit.unit, fmt::format("{} of {}", rate, limit.argument)))
        << "the guest is too slow for a measurement";
    set_limit(qmp, limit.argument, rate);
    // What fills the bucket at first is a burst, and not the average.
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    QmpWatch another(machine.client());
    const auto readings = watch(qmp, window());
    const auto answers = another.end();
    EXPECT_TRUE(answers.prompt()) << answers;
    const double measured = rate_between(limit, readings.front(), readings.back());
    expect_rate(measured, rate, 0.03, limit.argument);
    // A tenth of a second's worth is the burst of a limit that names none.
    EXPECT_LE(most_in_a_second(limit, readings), rate * 1.1 + limit.unit) << rate;
    EXPECT_EQ(machine.process().err(), "");
}

INSTANTIATE_TEST_SUITE_P(EveryLimit, ThrottleAccuracy, testing::ValuesIn(limits),
                         [](const auto& tested) { return std::string(tested.param.argument); });

TEST(ThrottleGroup, SharesItsLimitFairlyBetweenTwoDisks) {
    QmpMachine machine("deep-io write=on devices=2 depth=16", {"", ""});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    // Of one disk; of both, less.
    const double rate = std::floor(capacity(machine) * 1.5 * part_of_capacity());
    for (unsigned disk : {0U, 1U}) set_limit(qmp, "iops", rate, disk, "both");
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const std::array from{read_counters(qmp, 0), read_counters(qmp, 1)};
    std::this_thread::sleep_for(window());
    const std::array to{read_counters(qmp, 0), read_counters(qmp, 1)};
    const double first = rate_between(limits[0], from[0], to[0]);
    const double second = rate_between(limits[0], from[1], to[1]);
    expect_rate(first + second, rate, 0.03, "both");
    expect_rate(first, second, 0.05, "one beside the other");
    EXPECT_EQ(machine.process().err(), "");
}

TEST(ThrottleAtOnce, NoSecondExceedsTheLimitFromTheMomentItIsSet) {
    constexpr double depth = 32;
    QmpMachine machine("deep-io write=on depth=32");
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    const double rate = std::floor(capacity(machine) * part_of_capacity());
    set_limit(qmp, "iops", rate);
    // The device had as many as the queue is deep when the limit came.
    EXPECT_LE(most_in_a_second(limits[0], watch(qmp, Seconds(1.5))), rate * 1.1 + 1 + depth)
        << rate;
}

}  // namespace
}  // namespace viaduct::test
