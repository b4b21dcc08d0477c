// The data path is switched under a guest that counts and checks every completion.
#include <atomic>
#include <chrono>
#include <string>
#include <tuple>

#include <boost/json/serialize.hpp>

#include "tests/guest/qmp_machine.hpp"
#include "tests/support/meanwhile.hpp"
#include "tests/support/qmp_watch.hpp"
#include "tests/support/repeated.hpp"
#include "tests/support/thread_states.hpp"

namespace viaduct::test {
namespace {

namespace json = boost::json;
using tests::QmpClient;
using tests::QmpRefusal;

Seconds whole_run() {
    return Seconds(60.0 * repeated(1));
}

const char* path_of(QmpClient& qmp) {
    return qmp.execute("query-vdpa").at(0).at("datapath").as_string() == "slow" ? "slow" : "fast";
}

json::object set_path(QmpMachine& machine, const char* mode) {
    try {
        return machine.qmp()
            .execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", mode}})
            .as_object();
    } catch (const QmpRefusal& refused) {
        throw Error("{}\n{}", refused.what(), thread_states(machine.process().pid()));
    }
}

/// Switches to and fro, beginning with "slow". Odd counts end there.
void switch_times(QmpMachine& machine, unsigned times) {
    for (unsigned i = 0; i < times; ++i) {
        const char* const mode = i % 2 == 0 ? "slow" : "fast";
        const auto report = set_path(machine, mode);
        ASSERT_EQ(report.at("to"), mode) << json::serialize(report);
        ASSERT_EQ(report.at("from"), i % 2 == 0 ? "fast" : "slow") << json::serialize(report);
    }
}

/// Switches to and fro while the machine runs; says how often a device that ran has moved.
template <typename Refused>
unsigned switch_until_end(QmpMachine& machine, Refused on_refusal) {
    unsigned done = 0;
    unsigned moved = 0;
    while (machine.process().running()) {
        try {
            const char* const mode = done % 2 == 0 ? "slow" : "fast";
            const auto report =
                machine.qmp().execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", mode}});
            if (report.at("from") != report.at("to")) ++moved;
            ++done;
        } catch (const QmpRefusal& refused) {
            on_refusal(refused);
        } catch (const Error&) {
            break;  // the guest has finished, and the machine with it
        }
    }
    return moved;
}

/// How often the guest has had all its requests back.
std::size_t drains(const Process& process) {
    const std::string out = process.out();
    const auto whole_lines = out.substr(0, out.rfind('\n'));
    const auto last = whole_lines.rfind("drained ");
    return last == std::string::npos ? 0 : std::stoul(whole_lines.substr(last + 8));
}

/// The guest gets all its requests back and goes on, and the machine ends without a word.
void expect_healthy_end(QmpMachine& machine) {
    const auto& process = machine.process();
    const auto after = drains(process) + 2;
    EXPECT_TRUE(process.wait_for_output("drained " + std::to_string(after) + "\n", long_enough))
        << process.out() << process.err();
    if (process.running()) (void)machine.qmp().execute("quit");
    const Outcome outcome = machine.process().wait();
    EXPECT_EQ(outcome.status, 0) << outcome.out;
    EXPECT_EQ(outcome.out.find("FAIL"), std::string::npos) << outcome.out;
    EXPECT_EQ(outcome.err, "");
}

class SwitchUnderLoad
    : public testing::TestWithParam<std::tuple<unsigned, unsigned, bool, bool, bool>> {};

TEST_P(SwitchUnderLoad, LosesAndDoublesNoCompletion) {
    const auto& [queues, depth, event_idx, indirect, suspend] = GetParam();
    const auto word = [](bool on) { return on ? "on" : "off"; };
    QmpMachine machine(
        fmt::format("deep-io write=on drain=200 tick=20 queues={} depth={} event-idx={} "
                    "indirect={}",
                    queues, depth, word(event_idx), word(indirect)),
        {fmt::format("queues={},suspend={}", queues, word(suspend))}, whole_run());
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough))
        << machine.process().out() << machine.process().err();
    // Half of them end on the slow path, in either column of each term.
    const bool ends_slow = ((queues == 2) ^ (depth == 1) ^ event_idx ^ indirect ^ suspend) != 0;
    const unsigned times = repeated(16) + (ends_slow ? 1 : 0);
    QmpWatch watch(machine.client());
    switch_times(machine, times);
    const auto answers = watch.end();
    EXPECT_TRUE(answers.prompt()) << answers;
    EXPECT_STREQ(path_of(machine.qmp()), ends_slow ? "slow" : "fast");
    expect_healthy_end(machine);
}

std::string name_of(const testing::TestParamInfo<SwitchUnderLoad::ParamType>& tested) {
    const auto& [queues, depth, event_idx, indirect, suspend] = tested.param;
    return fmt::format("{}QueuesDepth{}{}{}{}", queues, depth, event_idx ? "EventIdx" : "",
                       indirect ? "Indirect" : "", suspend ? "Suspend" : "");
}

INSTANTIATE_TEST_SUITE_P(QueuesDepthsAndFeatures, SwitchUnderLoad,
                         testing::Combine(testing::Values(1U, 2U, 4U), testing::Values(1U, 32U),
                                          testing::Bool(), testing::Bool(), testing::Bool()),
                         name_of);

TEST(SwitchOfTheDataPath, LetsTheGuestFinishAndPass) {
    const unsigned count = repeated(1200);
    QmpMachine machine(
        fmt::format("deep-io write=on drain=200 count={} tick=20 queues=2 event-idx=on "
                    "indirect=on",
                    count),
        {"queues=2"}, whole_run());
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    const unsigned switches = switch_until_end(
        machine, [](const QmpRefusal& refused) { ADD_FAILURE() << refused.what(); });
    EXPECT_GE(switches, 5U) << "it was hardly ever away from its path";
    const Outcome outcome = machine.process().wait();
    EXPECT_EQ(outcome.status, probe_passed) << outcome.out;
    EXPECT_NE(outcome.out.find(fmt::format("deep-io completions={} ", count)), std::string::npos)
        << outcome.out;
    EXPECT_EQ(outcome.err, "");
}

constexpr const char* busy_guest =
    "deep-io write=on drain=200 tick=20 queues=2 depth=8 event-idx=on indirect=on";

void limit(QmpClient& qmp, unsigned iops) {
    (void)qmp.execute("block_set_io_throttle", {{"id", "disk0"},
                                                {"bps", 0},
                                                {"bps_rd", 0},
                                                {"bps_wr", 0},
                                                {"iops", iops},
                                                {"iops_rd", 0},
                                                {"iops_wr", 0}});
}

class SwitchWithTwoClients : public testing::TestWithParam<const char*> {};

TEST_P(SwitchWithTwoClients, SucceedsWhileAnotherStopsAndContinues) {
    QmpMachine machine(busy_guest, {std::string("queues=2,suspend=") + GetParam()}, whole_run());
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    Meanwhile other(machine.client(), [](QmpClient& qmp) {
        (void)qmp.execute("stop");
        (void)qmp.execute("cont");
    });
    QmpWatch watch(machine.client());
    switch_times(machine, repeated(20));
    const auto answers = watch.end();
    EXPECT_TRUE(answers.prompt()) << answers;
    EXPECT_GT(other.end(), 0U);
    expect_healthy_end(machine);
}

TEST_P(SwitchWithTwoClients, SucceedsWhileLimitsComeAndGo) {
    QmpMachine machine(busy_guest, {std::string("queues=2,suspend=") + GetParam()}, whole_run());
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    std::atomic<unsigned> refusals = 0;
    Meanwhile other(machine.client(), [&](QmpClient& qmp) {
        try {
            limit(qmp, 200);
        } catch (const QmpRefusal&) {
            ++refusals;
        }
        limit(qmp, 0);
    });
    QmpWatch watch(machine.client());
    for (unsigned i = 0; i < repeated(20); ++i) {
        const char* const mode = i % 2 == 0 ? "slow" : "auto";
        (void)machine.qmp().execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", mode}});
    }
    const auto answers = watch.end();
    EXPECT_TRUE(answers.prompt()) << answers;
    const unsigned times = other.end();
    EXPECT_GT(times, 0U);
    EXPECT_EQ(refusals, 0U);
    expect_healthy_end(machine);
}

INSTANTIATE_TEST_SUITE_P(Suspend, SwitchWithTwoClients, testing::Values("on", "off"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST(SwitchOfTheDataPath, IsNoHarmToAGuestThatResetsTheDevice) {
    for (const char* const suspend : {"on", "off"}) {
        QmpMachine machine("reset-mid-io rounds=" + std::to_string(repeated(25)),
                           {std::string("suspend=") + suspend}, whole_run());
        const unsigned switches = switch_until_end(
            machine, [](const QmpRefusal& refused) { ADD_FAILURE() << refused.what(); });
        const Outcome outcome = machine.process().wait();
        EXPECT_EQ(outcome.status, probe_passed) << outcome.out;
        EXPECT_EQ(outcome.err, "");
        EXPECT_GT(switches, 5U) << "under a device that is set up";
    }
}

}  // namespace
}  // namespace viaduct::test
