// QMP on a running machine: answers in time whatever a device does, and as its schema says.
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/serialize.hpp>
#include <netinet/in.h>

#include "base/error.hpp"
#include "tests/guest/frozen_thread.hpp"
#include "tests/guest/qmp_machine.hpp"
#include "tests/qmp_client.hpp"
#include "tests/support/eventually.hpp"

namespace viaduct::test {
namespace {

namespace json = boost::json;
using tests::QmpClient;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds promised{100};

/// Every command that only asks, with its arguments.
std::vector<std::pair<std::string, json::object>> questions(QmpClient& qmp) {
    const std::map<std::string, json::object> arguments{{"query-stats", {{"target", "vcpu"}}}};
    std::vector<std::pair<std::string, json::object>> all;
    const auto commands = qmp.execute("query-commands");
    for (const auto& command : commands.as_array()) {
        const std::string name(command.at("name").as_string());
        if (!name.starts_with("query-")) continue;
        const auto found = arguments.find(name);
        all.emplace_back(name, found == arguments.end() ? json::object{} : found->second);
    }
    return all;
}

/// The shortest of a few tries: a busy host is not what is asked about.
Clock::duration answer_time(QmpClient& qmp, const std::string& command,
                            const json::object& arguments) {
    auto best = Clock::duration::max();
    for (int tries = 0; tries < 5 && best >= promised; ++tries) {
        const auto start = Clock::now();
        (void)qmp.execute(command, arguments, std::chrono::seconds(3));
        best = std::min(best, Clock::now() - start);
    }
    return best;
}

void expect_prompt_answers(QmpMachine& machine) {
    for (const auto& [command, arguments] : questions(machine.qmp())) {
        // A client of its own: one that was not answered is of no use for the next question.
        const auto client = machine.client();
        try {
            EXPECT_LT(answer_time(*client, command, arguments), promised) << command;
        } catch (const Error& failure) {
            ADD_FAILURE() << command << ": " << failure.what();
        }
    }
}

TEST(QmpWhileADeviceIsBusy, AnswersThoughAResetOfTheMachineWaitsForTheDevice) {
    QmpMachine machine("io-loop");
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", Seconds(30)));
    const auto waiting = machine.client();
    {
        const FrozenThread control(machine.process().pid(), "vdpa-disk0");
        waiting->send(R"({"execute":"system_reset","id":"slow"})");
        expect_prompt_answers(machine);
        EXPECT_THROW((void)waiting->receive_line(std::chrono::milliseconds(50)), Error)
            << "the device was not needed: nothing was shown";
    }
    EXPECT_EQ(waiting->wait_event("RESET").at("event"), "RESET");
    EXPECT_EQ(waiting->receive().value().at("id"), "slow");
}

TEST(QmpWhileADeviceIsBusy, AGuestThatIsResetWhileItWaitsForTheDeviceBeginsAtItsBeginning) {
    QmpMachine machine("config-loop tick=10");
    auto& qmp = machine.qmp();
    for (int round = 0; round < 10; ++round) {
        const std::size_t before = machine.process().out().size();
        for (int i = 0; i < 3000 && machine.process().out().size() == before; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        ASSERT_GT(machine.process().out().size(), before) << "round " << round;
        {
            const FrozenThread control(machine.process().pid(), "vdpa-disk0");
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            qmp.send(R"({"execute":"system_reset","id":"slow"})");
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        EXPECT_EQ(qmp.wait_event("RESET").at("data").at("reason"), "host-qmp-system-reset")
            << "round " << round;
        EXPECT_EQ(qmp.receive().value().at("id"), "slow");
    }
}

TEST(QmpWhileADeviceIsBusy, AnswersThoughAStopWaitsForTheDevice) {
    QmpMachine machine("io-loop");
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", Seconds(30)));
    const auto waiting = machine.client();
    {
        const FrozenThread control(machine.process().pid(), "vdpa-disk0");
        waiting->send(R"({"execute":"stop","id":"slow"})");
        expect_prompt_answers(machine);
        EXPECT_THROW((void)waiting->receive_line(std::chrono::milliseconds(50)), Error)
            << "the device was not needed: nothing was shown";
    }
    EXPECT_EQ(waiting->wait_event("STOP").at("event"), "STOP");
    EXPECT_EQ(waiting->receive().value().at("id"), "slow");
}

TEST(QmpWhileADeviceIsBusy, AnswersThoughASwitchWaitsForTheDeviceAndOtherDevicesSwitch) {
    QmpMachine machine("deep-io write=on tick=20 devices=2", {"", ""});
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    const auto waiting = machine.client();
    {
        const FrozenThread control(machine.process().pid(), "vdpa-disk0");
        waiting->send(
            R"({"execute":"vdpa-set-datapath","arguments":{"id":"disk0","mode":"slow"},"id":1})");
        expect_prompt_answers(machine);
        const auto report =
            machine.qmp().execute("vdpa-set-datapath", {{"id", "disk1"}, {"mode", "slow"}});
        EXPECT_EQ(report.at("to"), "slow");
    }
    EXPECT_EQ(machine.qmp().wait_event("VDPA_DATAPATH_CHANGED").at("data").at("id"), "disk1");
    EXPECT_EQ(machine.qmp().wait_event("VDPA_DATAPATH_CHANGED").at("data").at("id"), "disk0");
}

TEST(QmpWhileADeviceIsBusy, AnswersThoughAVcpuWaitsForTheDevice) {
    // Resets and starts without end: the vCPU is soon inside of one.
    QmpMachine machine("reset-mid-io rounds=1000000");
    const auto is_idle = [&] {
        return machine.qmp().execute("query-vdpa").at(0).at("datapath") == "idle";
    };
    for (const auto end = Clock::now() + std::chrono::seconds(30); is_idle();) {
        ASSERT_LT(Clock::now(), end) << "the guest did not start its disk";
    }
    const FrozenThread control(machine.process().pid(), "vdpa-disk0");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    expect_prompt_answers(machine);
}

/// Holds values against the types of query-qmp-schema.
class Schema {
public:
    explicit Schema(QmpClient& qmp) {
        const auto schema = qmp.execute("query-qmp-schema");
        for (const auto& entry : schema.as_array()) {
            entries_[entry.at("name").as_string().c_str()] = entry.as_object();
        }
    }

    [[nodiscard]] std::string type_of(const std::string& name, const char* which) const {
        return entries_.at(name).at(which).as_string().c_str();
    }

    /// What is wrong with the value, first of all; empty: nothing.
    [[nodiscard]] std::string fault(const json::value& value, const std::string& type) const {
        const auto& entry = entries_.at(type);
        const std::string_view kind = entry.at("meta-type").as_string();
        if (kind == "builtin") return fault_of_builtin(value, entry.at("json-type").as_string());
        if (kind == "array") return fault_of_array(value, entry);
        if (kind == "object") return fault_of_object(value, entry);
        const auto& values = entry.at("values").as_array();
        return std::find(values.begin(), values.end(), value) != values.end()
                   ? ""
                   : fmt::format("{} is none of the values", json::serialize(value));
    }

private:
    static std::string fault_of_builtin(const json::value& value, std::string_view type) {
        const std::map<std::string_view, bool> is{{"string", value.is_string()},
                                                  {"int", value.is_int64() || value.is_uint64()},
                                                  {"number", value.is_number()},
                                                  {"boolean", value.is_bool()},
                                                  {"value", true}};
        return is.at(type) ? "" : fmt::format("{} is no {}", json::serialize(value), type);
    }

    [[nodiscard]] std::string fault_of_array(const json::value& value,
                                             const json::object& entry) const {
        if (!value.is_array()) return "is no array";
        for (const auto& element : value.get_array()) {
            const auto wrong = fault(element, entry.at("element-type").as_string().c_str());
            if (!wrong.empty()) return "[]" + wrong;
        }
        return "";
    }

    [[nodiscard]] std::string fault_of_object(const json::value& value,
                                              const json::object& entry) const {
        if (!value.is_object()) return "is no object";
        json::object undeclared = value.get_object();
        for (const auto& member : entry.at("members").as_array()) {
            const std::string name(member.at("name").as_string());
            const auto* found = value.get_object().if_contains(name);
            undeclared.erase(name);
            if (found == nullptr) {
                if (member.as_object().contains("default")) continue;
                return "." + name + " is missing";
            }
            const auto wrong = fault(*found, member.at("type").as_string().c_str());
            if (!wrong.empty()) return fmt::format(".{}: {}", name, wrong);
        }
        return undeclared.empty() ? "" : "undeclared members: " + json::serialize(undeclared);
    }

    std::map<std::string, json::object> entries_;
};

TEST(QmpSchemaOnTheWire, IsKeptByTheAnswersToAllQuestions) {
    QmpMachine machine("io-loop");
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", Seconds(30)));
    const Schema schema(machine.qmp());
    for (const auto& [command, arguments] : questions(machine.qmp())) {
        const auto answer = machine.qmp().execute(command, arguments);
        EXPECT_EQ(schema.fault(answer, schema.type_of(command, "ret-type")), "") << command;
    }
}

TEST(QmpSchemaOnTheWire, IsKeptOnTheSlowPathWithLimits) {
    QmpMachine machine("deep-io write=on tick=20",
                       {"throttle.iops-total=5000,throttle.iops-total-max=6000,throttle.group=g"});
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    auto& qmp = machine.qmp();
    const Schema schema(qmp);
    const auto limits = qmp.execute("query-block").at(0).at("inserted");
    EXPECT_EQ(limits.at("iops_max"), 6000);
    EXPECT_EQ(qmp.execute("query-vdpa").at(0).at("poll-us"), 0);
    for (const auto& [command, arguments] : questions(qmp)) {
        const auto answer = qmp.execute(command, arguments);
        EXPECT_EQ(schema.fault(answer, schema.type_of(command, "ret-type")), "") << command;
    }
}

TEST(QmpSchemaOnTheWire, IsKeptByASwitchAndByADeviceThatBreaks) {
    QmpMachine machine("deep-io write=on tick=20", {"suspend=off"});
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    auto& qmp = machine.qmp();
    const Schema schema(qmp);
    const auto report = qmp.execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", "slow"}});
    EXPECT_EQ(schema.fault(report, schema.type_of("vdpa-set-datapath", "ret-type")), "");
    const auto switched = qmp.wait_event("VDPA_DATAPATH_CHANGED").at("data");
    EXPECT_EQ(schema.fault(switched, schema.type_of("VDPA_DATAPATH_CHANGED", "arg-type")), "");
    EXPECT_EQ(switched.at("from"), "fast");
    const auto told = machine.process().out().size();
    ASSERT_TRUE(eventually([&] { return machine.process().out().size() > told + 20; }))
        << "the guest does not go on";
    {
        const FrozenThread disk(machine.process().pid(), "soft-queue",
                                FrozenThread::Where::submitting);
        qmp.send(R"({"execute":"vdpa-set-datapath","arguments":{"id":"disk0","mode":"fast",)"
                 R"("switch-timeout":50,"on-timeout":"break"}})");
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    const auto broken = qmp.wait_event("VDPA_DEVICE_BROKEN").at("data");
    EXPECT_EQ(schema.fault(broken, schema.type_of("VDPA_DEVICE_BROKEN", "arg-type")), "");
    EXPECT_EQ(broken.at("id"), "disk0");
    const auto client = machine.client();
    const auto devices = client->execute("query-vdpa");
    EXPECT_EQ(devices.at(0).at("datapath"), "broken");
    EXPECT_EQ(schema.fault(devices, schema.type_of("query-vdpa", "ret-type")), "");
}

TEST(QmpSchemaOnTheWire, IsKeptByTheEventsOfAMachinesLife) {
    QmpMachine machine("io-loop");
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", Seconds(30)));
    auto& qmp = machine.qmp();
    const Schema schema(qmp);
    for (const auto* const command : {"stop", "cont", "system_reset", "quit"}) {
        (void)qmp.execute(command);
    }
    for (const auto* const name : {"STOP", "RESUME", "RESET", "SHUTDOWN"}) {
        const auto event = qmp.wait_event(name);
        const auto* const content = event.if_contains("data");
        const auto told = content == nullptr ? json::value(json::object{}) : *content;
        EXPECT_EQ(schema.fault(told, schema.type_of(name, "arg-type")), "") << name;
    }
}

TEST(QmpOfTheProgram, HasNoHotplugAndSaysSo) {
    QmpMachine machine("io-loop");
    const auto refusal = [&](std::string_view command, json::object arguments) {
        try {
            (void)machine.qmp().execute(command, std::move(arguments));
        } catch (const tests::QmpRefusal& refused) {
            return refused.error_class() + ": " + refused.what();
        }
        return std::string("no refusal");
    };
    EXPECT_EQ(refusal("device_add", {{"driver", "virtio-blk-pci"}, {"bus", "pci.0"}}),
              "GenericError: this version has no hotplug: name the device 'virtio-blk-pci' with "
              "--device when the machine is started");
    EXPECT_EQ(refusal("device_del", {{"id", "disk0"}}),
              "GenericError: this version has no hotplug: the device 'disk0' stays until the "
              "machine ends");
    EXPECT_EQ(refusal("device_del", {{"id", "disk9"}}), "DeviceNotFound: Device 'disk9' not found");
}

TEST(QmpOfTheProgram, TellsADisksStatisticsByItsNodeToo) {
    QmpMachine machine("io-loop");
    const auto by_device = machine.qmp().execute("query-blockstats", {{"query-nodes", false}});
    EXPECT_EQ(by_device.at(0).at("device"), "disk0");
    const auto by_node = machine.qmp().execute("query-blockstats", {{"query-nodes", true}});
    EXPECT_FALSE(by_node.at(0).as_object().contains("device"));
    EXPECT_EQ(by_node.at(0).at("node-name"), "disk0");
    EXPECT_TRUE(by_node.at(0).as_object().contains("stats"));
}

TEST(QmpOfTheProgram, OnStdioEndsWithItsInputAndTheMachineRunsOn) {
    const TemporaryDirectory directory;
    const std::string socket = directory.path("qmp");
    std::string command = "exec";
    for (const auto& word :
         probe_command({.scenario = "spin tick=0",
         .options = {"--serial", "none", "--qmp", "stdio", "--qmp", "unix:" + socket}})) {
        command += fmt::format(" '{}'", word);
    }
    command += R"( < <(echo '{"execute":"qmp_capabilities"}{"execute":"query-name","id":1}'))";
    Process process({"bash", "-c", command}, Seconds(60));
    ASSERT_TRUE(process.wait_for_output(R"({"return": {"name": "viaduct"}, "id": 1})", Seconds(30)))
        << process.out() << process.err();
    QmpClient client(socket);
    client.negotiate();
    EXPECT_EQ(client.execute("query-status").at("status"), "running");
    (void)client.execute("quit");
    EXPECT_EQ(process.wait().status, 0);
    EXPECT_EQ(process.out().find("SHUTDOWN"), std::string::npos)
        << "the conversation had not ended with its input";
}

TEST(QmpOfTheProgram, OnAPortThatTheKernelPicksTellsWhichItIs) {
    Process process(probe_command({.scenario = "spin tick=0",
                                   .options = {"--serial", "none", "--qmp", "tcp:127.0.0.1:0"}}),
                    Seconds(60));
    std::string told;
    for (int i = 0; i < 3000 && told.find('\n') == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        told = process.err();
    }
    const auto colon = told.rfind(':');
    ASSERT_NE(colon, std::string::npos) << told;
    EXPECT_NE(told.find("127.0.0.1"), std::string::npos) << told;
    const int port = std::stoi(told.substr(colon + 1));
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
        << told;
    QmpClient client(std::move(socket));
    client.negotiate();
    EXPECT_EQ(client.execute("query-status").at("status"), "running");
    (void)client.execute("quit");
    EXPECT_EQ(process.wait().status, 0);
}

TEST(QmpOfTheProgram, HasAReferenceThatNeedsNoMachine) {
    const Outcome outcome = run({viaduct_program(), "qmp-reference"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_TRUE(outcome.out.starts_with("### Commands\n")) << outcome.out;
}

}  // namespace
}  // namespace viaduct::test
