// Start and end of a machine, and what an operator does to it in between.
#include <algorithm>
#include <csignal>

#include <fmt/format.h>

#include "tests/guest/frozen_thread.hpp"
#include "tests/guest/probe_run.hpp"
#include "tests/qmp_client.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using tests::QmpClient;

/// A machine that runs a scenario without end, with a control socket.
class RunningMachine {
public:
    explicit RunningMachine(const std::string& scenario, const std::string& device = "")
        : process_(command(scenario, device), Seconds(90) * repeated(1)),
          qmp_(directory_.path("qmp")) {
        qmp_.negotiate();
    }

    Process& process() { return process_; }
    QmpClient& qmp() { return qmp_; }
    [[nodiscard]] std::string socket() const { return directory_.path("qmp"); }

    std::string status() { return qmp_.execute("query-status").at("status").as_string().c_str(); }
    std::string reason_of(std::string_view event) {
        return qmp_.wait_event(event).at("data").at("reason").as_string().c_str();
    }
    std::size_t ticks() const { return process_.out().size(); }
    bool ticks_go_on() const {
        const std::size_t before = ticks();
        for (int i = 0; i < 1000 && ticks() == before; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return ticks() > before;
    }

private:
    std::vector<std::string> command(const std::string& scenario, const std::string& device) {
        return probe_command({.scenario = scenario,
                              .options = {"--qmp", "unix:" + socket(), "--device",
                                          image_device(directory_, device), "--cpus", "2"}});
    }

    TemporaryDirectory directory_;
    Process process_;
    QmpClient qmp_;
};

TEST(Lifecycle, TheGuestsDebugExitValueBecomesTheExitStatus) {
    const ProbeRun guest{.scenario = "debug-exit value=5"};
    EXPECT_EQ(run(probe_command(guest)).status, 5 << 1 | 1);
}

TEST(Lifecycle, PowerOffEndsTheMachineWithStatus0) {
    const ProbeRun guest{.scenario = "power-off"};
    const Outcome outcome = run(probe_command(guest));
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
}

TEST(Lifecycle, ALowSoftLimitOfDescriptorsIsNotInTheWayOfManyQueues) {
    const TemporaryDirectory directory;
    std::vector<std::string> command = probe_command(
        {.scenario = "hello", .options = {"--device", image_device(directory, "queues=64")}});
    const std::vector<std::string> shell{"bash", "-c", R"(ulimit -S -n 64; exec "$@")", "bash"};
    command.insert(command.begin(), shell.begin(), shell.end());
    const Outcome outcome = run(command);
    EXPECT_EQ(outcome.status, probe_passed) << outcome.out << outcome.err;
}

TEST(Lifecycle, SigtermEndsTheMachineInOrder) {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        RunningMachine machine("io-loop");
        ASSERT_TRUE(machine.ticks_go_on());
        machine.process().send_signal(signal);
        EXPECT_EQ(machine.reason_of("SHUTDOWN"), "host-signal");
        EXPECT_EQ(machine.process().wait().status, 0);
        EXPECT_FALSE(std::filesystem::exists(machine.socket()));
    }
}

/// What a machine may be at when the signal comes.
struct Busy {
    const char* name;
    const char* device;
    bool is_stopped = false;
    bool is_switched = false;  // all the time
};

class SigtermWhile : public testing::TestWithParam<Busy> {};

TEST_P(SigtermWhile, EndsTheMachineInOrder) {
    RunningMachine machine("deep-io write=on tick=1", GetParam().device);
    ASSERT_TRUE(machine.ticks_go_on());
    if (GetParam().is_stopped) machine.qmp().execute("stop");
    std::string commands;
    for (int i = 0; GetParam().is_switched && i < 200; ++i) {
        commands += fmt::format(
            R"({{"execute":"vdpa-set-datapath","arguments":{{"id":"vdpa0","mode":"{}"}}}})",
            i % 2 == 0 ? "slow" : "fast");
    }
    QmpClient other(machine.socket());
    other.negotiate();
    other.send(commands);
    machine.process().send_signal(SIGTERM);
    EXPECT_EQ(machine.reason_of("SHUTDOWN"), "host-signal");
    const Outcome outcome = machine.process().wait();
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.err, "");
}

INSTANTIATE_TEST_SUITE_P(
    EverySort, SigtermWhile,
    testing::Values(Busy{"OnTheSlowPath", "datapath=slow"},
                    Busy{"RequestsWaitInTheThrottle", "throttle.iops-total=20"},
                    Busy{"Stopped", "datapath=slow", true}, Busy{"ItIsSwitched", "", false, true},
                    Busy{"ItIsSwitchedWithoutSuspend", "suspend=off", false, true}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(Lifecycle, ASecondSignalDoesNotWaitForADevice) {
    RunningMachine machine("io-loop");
    ASSERT_TRUE(machine.ticks_go_on());
    {
        const FrozenThread control(machine.process().pid(), "vdpa-vdpa0");
        machine.process().send_signal(SIGTERM);
        machine.process().send_signal(SIGTERM);
        std::this_thread::sleep_for(std::chrono::milliseconds(1200));
        EXPECT_TRUE(machine.process().running()) << "two in one breath are one";
        machine.process().send_signal(SIGTERM);
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    const Outcome outcome = machine.process().wait();
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.err.find("without waiting"), std::string::npos) << outcome.err;
}

TEST(Lifecycle, QuitAnswersSaysShutdownAndEnds) {
    RunningMachine machine("io-loop");
    machine.qmp().execute("quit");
    EXPECT_EQ(machine.reason_of("SHUTDOWN"), "host-qmp-quit");
    EXPECT_EQ(machine.process().wait().status, 0);
}

TEST(Lifecycle, StopHoldsTheGuestAndContLetsItGoOn) {
    RunningMachine machine("io-loop");
    for (unsigned round = 0; round < repeated(10); ++round) {
        ASSERT_TRUE(machine.ticks_go_on()) << "round " << round;
        machine.qmp().execute("stop");
        machine.qmp().wait_event("STOP");
        EXPECT_EQ(machine.status(), "paused");
        const std::size_t before = machine.ticks();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        EXPECT_EQ(machine.ticks(), before);
        machine.qmp().execute("cont");
        machine.qmp().wait_event("RESUME");
        EXPECT_EQ(machine.status(), "running");
    }
    EXPECT_TRUE(machine.ticks_go_on());
}

TEST(Lifecycle, StopAndContTwiceAreHarmless) {
    RunningMachine machine("io-loop");
    machine.qmp().execute("stop");
    machine.qmp().execute("stop");
    machine.qmp().execute("cont");
    machine.qmp().execute("cont");
    EXPECT_TRUE(machine.ticks_go_on());
}

TEST(Lifecycle, SystemResetStartsTheGuestAgain) {
    RunningMachine machine("io-loop");
    for (unsigned round = 0; round < repeated(5); ++round) {
        ASSERT_TRUE(machine.ticks_go_on()) << "round " << round;
        machine.qmp().execute("system_reset");
        EXPECT_EQ(machine.reason_of("RESET"), "host-qmp-system-reset");
    }
    EXPECT_TRUE(machine.ticks_go_on());
}

TEST(Lifecycle, SystemResetWhileStoppedTakesEffectAndTheMachineStaysStopped) {
    RunningMachine machine("io-loop");
    ASSERT_TRUE(machine.ticks_go_on());
    machine.qmp().execute("stop");
    machine.qmp().execute("system_reset");
    machine.qmp().wait_event("RESET");
    EXPECT_EQ(machine.status(), "paused");
    machine.qmp().execute("cont");
    EXPECT_TRUE(machine.ticks_go_on());
}

TEST(Lifecycle, AGuestThatIsResetInsideAnAccessBeginsAtItsBeginning) {
    RunningMachine machine("config-loop tick=10");
    for (unsigned round = 0; round < repeated(40); ++round) {
        ASSERT_TRUE(machine.ticks_go_on()) << "round " << round;
        machine.qmp().execute("system_reset");
        // One that goes on somewhere else ends in a triple fault.
        ASSERT_EQ(machine.reason_of("RESET"), "host-qmp-system-reset") << "round " << round;
    }
    EXPECT_TRUE(machine.ticks_go_on());
    machine.qmp().execute("quit");
    EXPECT_EQ(machine.process().wait().err, "");
}

TEST(Lifecycle, ATripleFaultResetsTheMachine) {
    RunningMachine machine("triple-fault again=on");
    EXPECT_EQ(machine.reason_of("RESET"), "guest-reset");
}

TEST(Lifecycle, QueryVdpaTellsWhatTheGuestHasMadeOfTheDevice) {
    RunningMachine machine("io-loop");
    ASSERT_TRUE(machine.ticks_go_on());
    const auto devices = machine.qmp().execute("query-vdpa").as_array();
    ASSERT_EQ(devices.size(), 1U);
    const auto& device = devices[0].as_object();
    EXPECT_EQ(device.at("id"), "vdpa0");
    EXPECT_EQ(device.at("device-type"), "block");
    EXPECT_EQ(device.at("datapath"), "fast");
    const auto& queue = device.at("queues").at(0);
    EXPECT_TRUE(queue.at("ready").as_bool());
    EXPECT_GT(queue.at("descriptor-area").as_int64(), 0);
    const auto& features = device.at("features").as_array();
    EXPECT_NE(std::find(features.begin(), features.end(), "VIRTIO_F_VERSION_1"), features.end());
}

TEST(Lifecycle, QueryStatsTellsKvmsCountersOfAVcpuThatNeverExits) {
    RunningMachine machine("spin tick=0");
    const auto stats = machine.qmp().execute("query-stats", {{"target", "vcpu"}});
    ASSERT_EQ(stats.as_array().size(), 2U);
    const auto& counters = stats.at(0).at("stats").as_array();
    EXPECT_TRUE(std::any_of(counters.begin(), counters.end(), [](const auto& counter) {
        return counter.at("name") == "mmio_exits";
    }));
}

}  // namespace
}  // namespace viaduct::test
