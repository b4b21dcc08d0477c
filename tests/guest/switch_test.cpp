// The data path is switched under a guest that counts and checks every completion.
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include <boost/json/serialize.hpp>

#include "tests/guest/qmp_machine.hpp"
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

struct Case {
    const char* name;
    unsigned queues;
    unsigned depth;
    bool event_idx;
    bool indirect;
    bool suspend;
    unsigned switches;  // odd: the last one leaves it on the slow path
};

class SwitchUnderLoad : public testing::TestWithParam<Case> {};

TEST_P(SwitchUnderLoad, LosesAndDoublesNoCompletion) {
    const Case& with = GetParam();
    const auto word = [](bool on) { return on ? "on" : "off"; };
    QmpMachine machine(
        fmt::format("deep-io write=on drain=200 tick=20 queues={} depth={} event-idx={} "
                    "indirect={}",
                    with.queues, with.depth, word(with.event_idx), word(with.indirect)),
        {fmt::format("queues={},suspend={}", with.queues, word(with.suspend))}, whole_run());
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough))
        << machine.process().out() << machine.process().err();
    // An even factor must not turn an odd count into an even one.
    const unsigned times = repeated(with.switches & ~1U) + with.switches % 2;
    QmpWatch watch(machine.client());
    switch_times(machine, times);
    const auto answers = watch.end();
    EXPECT_TRUE(answers.prompt()) << answers;
    EXPECT_STREQ(path_of(machine.qmp()), with.switches % 2 == 1 ? "slow" : "fast");
    expect_healthy_end(machine);
}

INSTANTIATE_TEST_SUITE_P(
    QueuesDepthsAndFeatures, SwitchUnderLoad,
    testing::Values(Case{"OneRequestPlain", 1, 1, false, false, true, 51},
                    Case{"OneRequestEventIdx", 1, 1, true, false, true, 50},
                    Case{"OneRequestIndirectWithoutSuspend", 1, 1, true, true, false, 51},
                    Case{"OneRequestPlainWithoutSuspend", 1, 1, false, false, false, 50},
                    Case{"DeepPlain", 1, 32, false, false, true, 50},
                    Case{"DeepEventIdxIndirectWithoutSuspend", 1, 32, true, true, false, 51},
                    Case{"TwoQueuesDeepEventIdx", 2, 32, true, false, true, 51},
                    Case{"TwoQueuesDeepIndirectWithoutSuspend", 2, 32, false, true, false, 50},
                    Case{"FourQueuesOneRequest", 4, 1, true, true, true, 50},
                    Case{"FourQueuesDeep", 4, 32, true, true, true, 51},
                    Case{"FourQueuesDeepPlainWithoutSuspend", 4, 32, false, false, false, 50},
                    // With these, every pair of queues, depth and SUSPEND is there, and every three
                    // of the features.
                    Case{"TwoQueuesOneRequestIndirect", 2, 1, false, true, true, 51},
                    Case{"TwoQueuesOneRequestEventIdxWithoutSuspend", 2, 1, true, false, false, 50},
                    Case{"FourQueuesOneRequestWithoutSuspend", 4, 1, true, true, false, 51},
                    Case{"FourQueuesDeepEventIdxWithoutSuspend", 4, 32, true, false, false, 50}),
    [](const auto& tested) { return std::string(tested.param.name); });

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
    EXPECT_GT(switches, 10U);
    const Outcome outcome = machine.process().wait();
    EXPECT_EQ(outcome.status, probe_passed) << outcome.out;
    EXPECT_NE(outcome.out.find(fmt::format("deep-io completions={} ", count)), std::string::npos)
        << outcome.out;
    EXPECT_EQ(outcome.err, "");
}

/// Another client that does something over and over while this lives.
class Meanwhile {
public:
    Meanwhile(QmpMachine& machine, std::function<void(QmpClient&)> deed)
        : client_(machine.client()), thread_([this, deed = std::move(deed)] {
              try {
                  for (; !ends_; ++times_) deed(*client_);
              } catch (const Error& failure) {
                  failure_ = failure.what();
              }
          }) {}
    Meanwhile(const Meanwhile&) = delete;
    Meanwhile& operator=(const Meanwhile&) = delete;
    ~Meanwhile() {
        if (thread_.joinable()) end();
    }

    /// How often it was done; its failure is the test's.
    unsigned end() {
        ends_ = true;
        thread_.join();
        EXPECT_EQ(failure_, "");
        return times_;
    }

private:
    std::unique_ptr<QmpClient> client_;
    std::atomic<bool> ends_ = false;
    std::atomic<unsigned> times_ = 0;
    std::string failure_;
    std::thread thread_;
};

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
    Meanwhile other(machine, [](QmpClient& qmp) {
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
    Meanwhile other(machine, [&](QmpClient& qmp) {
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
