// viaductctl's command line: what each command asks of the machine, what it prints, and what each
// mistake is told.
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <boost/json/parse.hpp>
#include <fmt/core.h>
#include <gmock/gmock.h>

#include "tests/support/vm_process.hpp"
#include "tests/unit/ctl_scripted_machine.hpp"
#include "vmm/ctl/command_line.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/request_text.hpp"
#include "vmm/ctl/throttle.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::ThrowsMessage;

std::optional<Invocation> parse(std::vector<const char*> words, const std::string& socket = "x") {
    words.insert(words.begin(), "viaductctl");
    return parse_command_line(static_cast<int>(words.size()), words.data(), socket);
}

struct Result {
    int status;
    std::string out;
    std::string err;
};

/// `viaductctl -s SOCKET` and these words.
Result run_ctl(const std::string& socket, std::vector<const char*> words) {
    words.insert(words.begin(), {"viaductctl", "-s", socket.c_str()});
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int status = run(static_cast<int>(words.size()), words.data());
    return {.status = status,
            .out = testing::internal::GetCapturedStdout(),
            .err = testing::internal::GetCapturedStderr()};
}

std::string refusal(const std::vector<const char*>& words, const std::string& socket = "x") {
    try {
        (void)parse(words, socket);
    } catch (const UsageError& wrong) {
        return wrong.what();
    }
    return "no refusal";
}

json::value one_disk(std::string_view limits = "{}") {
    json::value reply = json::parse(R"([{"device": "disk0", "qdev": "disk0", "inserted":
        {"file": "/dev/vhost-vdpa-0", "ro": false, "drv": "vdpa", "bps": 0, "bps_rd": 0,
         "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0, "image": {"virtual-size": 1073741824}}}])");
    const json::value changes = json::parse(limits);
    for (const auto& [name, value] : changes.as_object()) {
        reply.at(0).at("inserted").as_object()[name] = value;
    }
    return reply;
}

TEST(CtlCommandLine, TakesTheSocketBeforeAfterOrFromTheEnvironment) {
    EXPECT_EQ(parse({"-s", "a", "status"})->address, Address(UnixAddress{"a"}));
    EXPECT_EQ(parse({"status", "-s", "a"})->address, Address(UnixAddress{"a"}));
    EXPECT_EQ(parse({"--socket=tcp:127.0.0.1:9", "status"})->address,
              Address(TcpAddress{.host = "127.0.0.1", .port = 9}));
    EXPECT_EQ(parse({"status"}, "unix:b")->address, Address(UnixAddress{"b"}));
    EXPECT_THAT(refusal({"status"}, ""), AllOf(HasSubstr("-s PATH"), HasSubstr("VIADUCT_SOCKET")));
}

TEST(CtlCommandLine, TakesJsonBeforeAndAfterTheCommand) {
    EXPECT_TRUE(parse({"--json", "vdpa"})->as_json);
    EXPECT_TRUE(parse({"vdpa", "--json"})->as_json);
    EXPECT_FALSE(parse({"vdpa"})->as_json);
}

TEST(CtlCommandLine, AnUnknownWordNamesTheNearest) {
    EXPECT_THAT(refusal({"stauts"}), AllOf(HasSubstr("'stauts'"), HasSubstr("'status'")));
    EXPECT_THAT(refusal({"throttle", "disk0", "--ipos", "4"}), HasSubstr("'--iops'"));
    EXPECT_THAT(refusal({"--sokcet", "x", "status"}), HasSubstr("'--socket'"));
    EXPECT_THAT(refusal({"stop", "now"}), AllOf(HasSubstr("stop"), HasSubstr("'now'")));
    EXPECT_THAT(refusal({"stop", "cont"}), HasSubstr("'cont'"));
    EXPECT_THAT(refusal({}), HasSubstr("--help"));
}

TEST(CtlCommandLine, OptionsThatMakeNoSenseAreRefusedBeforeTheMachineIsAsked) {
    EXPECT_THAT(refusal({"set-datapath", "disk0", "quick"}), HasSubstr("{fast,slow,auto}"));
    EXPECT_THAT(refusal({"set-datapath", "disk0"}), HasSubstr("MODE"));
    EXPECT_THAT(refusal({"set-datapath", "disk0", "slow", "--timeout", "soon"}),
                HasSubstr("--timeout"));
    EXPECT_THAT(refusal({"set-datapath", "disk0", "slow", "--on-timeout", "hope"}),
                HasSubstr("{fail,break}"));
    EXPECT_THAT(refusal({"throttle", "disk0", "--iops", "10K"}), HasSubstr("--iops"));
    EXPECT_THAT(refusal({"throttle", "disk0", "--iops-max-length", "1500ms"}),
                HasSubstr("whole seconds"));
    EXPECT_THAT(refusal({"throttle", "disk0", "--off", "--iops", "1"}), HasSubstr("--off"));
    EXPECT_THAT(refusal({"throttle", "--iops", "1"}), HasSubstr("which device"));
    EXPECT_THAT(refusal({"top", "--interval", "1ms"}), HasSubstr("10 ms"));
    EXPECT_THAT(refusal({"top", "--count", "0"}), HasSubstr("--count"));
    EXPECT_THAT(refusal({"qmp", "{"}), HasSubstr("not JSON"));
}

TEST(CtlCommandLine, HelpIsPrintedAndNothingRuns) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(parse({"throttle", "--help"}), std::nullopt);
    EXPECT_THAT(testing::internal::GetCapturedStdout(),
                AllOf(HasSubstr("viaductctl throttle"), HasSubstr("--bps-rd-max-length"),
                      HasSubstr("not given stay as they are")));
}

TEST(CtlCommandLine, ExitStatusTellsWrongUsageFromWhatWentWrong) {
    const Result usage = run_ctl("x", {"stauts"});
    EXPECT_EQ(usage.status, 2);
    EXPECT_THAT(usage.err, AllOf(testing::StartsWith("viaductctl: "), testing::EndsWith("\n")));
    const Result missing = run_ctl("/nonexistent/vm.sock", {"status"});
    EXPECT_EQ(missing.status, 1);
    EXPECT_THAT(missing.err, HasSubstr("is the VM running"));
    EXPECT_THAT(missing.out, IsEmpty());
}

/// What completion offers for a command line whose last word is being typed.
std::vector<std::string> completed(const std::vector<std::string>& words) {
    std::string line = "source " VIADUCT_SOURCE_DIR
                       "/scripts/completion/viaductctl.bash; "
                       "COMP_WORDS=(";
    for (const std::string& word : words) line += "'" + word + "' ";
    line += fmt::format(R"(); COMP_CWORD={}; _viaductctl; printf '%s\n' "${{COMPREPLY[@]}}")",
                        words.size() - 1);
    std::istringstream out(test::run({"bash", "-c", line}).out);
    std::vector<std::string> offered;
    for (std::string word; std::getline(out, word);) offered.push_back(word);
    return offered;
}

TEST(CtlCompletion, KnowsEveryCommand) {
    EXPECT_THAT(completed({"viaductctl", ""}), testing::UnorderedElementsAreArray(command_names()));
    EXPECT_THAT(completed({"viaductctl", "-s", "vm.sock", "set"}),
                testing::ElementsAre("set-datapath"));
}

TEST(CtlCompletion, KnowsTheCommandsAboutTheHost) {
    EXPECT_THAT(completed({"viaductctl", "devices", ""}),
                testing::UnorderedElementsAre("parents", "show", "add", "del", "bind", "doctor"));
    EXPECT_THAT(completed({"viaductctl", "devices", "bind", "disk0", "v"}),
                testing::UnorderedElementsAre("vhost", "virtio"));
    EXPECT_THAT(completed({VIADUCT_CTL, "devices", "add", "--mac", "52:54:00:12:34:56", "--m"}),
                testing::UnorderedElementsAre("--mac", "--mtu", "--max-vqp"));
}

TEST(CtlCompletion, OffersNoNameThatTheShellWouldRun) {
    const json::value devices =
        json::parse(R"([{"id": "disk0"}, {"id": "$(echo disk)1"}, {"id": "disk2;reboot"}])");
    const AnsweringMachine machine({{"query-vdpa", devices}});
    EXPECT_THAT(completed({VIADUCT_CTL, "-s", machine.path(), "set-datapath", ""}),
                testing::ElementsAre("disk0"));
}

TEST(CtlStatus, IsAListForPeopleAndTheReplyForPrograms) {
    const std::map<std::string, json::value> answers{
        {"query-status", {{"running", true}, {"status", "running"}}},
        {"query-name", {{"name", "vm1"}}},
        {"query-version", {{"package", "viaduct-1.2.3"}}},
        {"query-cpus-fast", json::array{json::object{}, json::object{}}}};
    const AnsweringMachine machine(answers);
    EXPECT_EQ(run_ctl(machine.path(), {"status"}).out,
              "name     vm1\nstatus   running\nvcpus    2\nversion  viaduct-1.2.3\n");
    const AnsweringMachine again(answers);
    EXPECT_EQ(json::parse(run_ctl(again.path(), {"status", "--json"}).out),
              answers.at("query-status"));
}

TEST(CtlQuit, IsDoneWhenTheMachineIsGoneBeforeItAnswers) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
    });
    EXPECT_EQ(run_ctl(machine.path(), {"quit"}).status, 0);
    const ScriptedMachine other([](Peer& peer) {
        peer.begin();
        (void)peer.request();
    });
    EXPECT_EQ(run_ctl(other.path(), {"stop"}).status, 1);
}

TEST(CtlRefusal, IsOneLineWithReasonAndClass) {
    const AnsweringMachine machine({});
    const Result result = run_ctl(machine.path(), {"stop"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.err, "viaductctl: The command stop has not been found (CommandNotFound)\n");
}

TEST(CtlVdpa, ShowsDevicesAndTheirQueues) {
    const AnsweringMachine machine(
        {{"query-vdpa", json::parse(R"([{"id": "disk0", "path": "/dev/vhost-vdpa-0",
            "device-type": "block", "policy": "auto", "datapath": "slow", "switchable": true,
            "status": 15, "needs-reset": false, "queues": [{"index": 0, "size": 128, "ready": true,
            "counters": {"kicks": 3, "interrupts": 2, "throttled-ns": 1500000}}]}])")}});
    const std::string out = run_ctl(machine.path(), {"vdpa"}).out;
    EXPECT_THAT(out, HasSubstr("disk0   block  /dev/vhost-vdpa-0  running  auto    slow      yes"));
    EXPECT_THAT(out, HasSubstr("1.50 ms"));
}

TEST(CtlSetDatapath, MapsItsOptionsAndTellsTheOutcome) {
    const AnsweringMachine machine(
        {{"vdpa-set-datapath",
          {{"from", "fast"}, {"to", "slow"}, {"blackout-us", 812}, {"in-flight-at-start", 3}}}});
    const Result result = run_ctl(machine.path(), {"set-datapath", "disk0", "slow", "--timeout",
                                                   "2s", "--on-timeout", "break"});
    EXPECT_EQ(result.out, "disk0: fast → slow, blackout 812 µs, 3 in flight at the start\n");
    ASSERT_THAT(machine.requests(), SizeIs(1));
    EXPECT_EQ(
        machine.requests()[0].at("arguments"),
        (json::object{
            {"id", "disk0"}, {"mode", "slow"}, {"switch-timeout", 2000}, {"on-timeout", "break"}}));
}

TEST(CtlSetDatapath, LeavesTheMachinesDefaultsAlone) {
    const AnsweringMachine machine({{"vdpa-set-datapath", {{"from", "slow"}, {"to", "slow"}}}});
    EXPECT_EQ(run_ctl(machine.path(), {"set-datapath", "disk0", "slow"}).out,
              "disk0: slow already\n");
    EXPECT_EQ(machine.requests().at(0).at("arguments"),
              (json::object{{"id", "disk0"}, {"mode", "slow"}}));
}

TEST(CtlThrottle, OptionsAreTheArgumentsOfTheSameName) {
    const AnsweringMachine machine(
        {{"query-block", one_disk()}, {"block_set_io_throttle", json::object{}}});
    const Result result = run_ctl(
        machine.path(), {"throttle", "disk0", "--iops", "100", "--bps-rd", "10M", "--iops-max",
                         "200", "--iops-max-length", "3s", "--iops-size", "4K", "--group", "g"});
    EXPECT_EQ(result.status, 0) << result.err;
    const auto requests = machine.requests();
    ASSERT_THAT(requests, SizeIs(3)) << "what was, the change, what is";
    EXPECT_EQ(requests[1].at("execute"), "block_set_io_throttle");
    EXPECT_EQ(requests[1].at("arguments"), json::parse(R"({"id": "disk0", "bps": 0,
        "bps_rd": 10485760, "bps_wr": 0, "iops": 100, "iops_rd": 0, "iops_wr": 0, "iops_max": 200,
        "iops_max_length": 3, "iops_size": 4096, "group": "g"})"));
}

json::object changed(std::string_view limits, const LimitChange& change) {
    const json::value reply = one_disk(limits);
    return changed_limits("disk0", reply.at(0), change);
}

TEST(CtlThrottle, WhatIsNotGivenStaysAsItIs) {
    EXPECT_EQ(changed(R"({"bps": 7, "bps_max": 8, "bps_max_length": 9, "iops_size": 512,
                          "group": "g"})",
                      {.numbers = {{"iops", 100}}, .group = {}}),
              json::parse(R"({"id": "disk0", "bps": 7, "bps_rd": 0, "bps_wr": 0, "iops": 100,
                              "iops_rd": 0, "iops_wr": 0, "bps_max": 8, "bps_max_length": 9,
                              "iops_size": 512, "group": "g"})"));
}

TEST(CtlThrottle, ALimitThatIsLiftedTakesItsBurstAlong) {
    const auto arguments = changed(R"({"bps": 7, "bps_max": 8, "bps_max_length": 9})",
                                   {.numbers = {{"bps", 0}}, .group = {}});
    EXPECT_EQ(arguments.at("bps"), 0U);
    EXPECT_FALSE(arguments.contains("bps_max"));
    EXPECT_FALSE(arguments.contains("bps_max_length"));
}

TEST(CtlThrottle, ABurstThatIsLiftedTakesItsLengthAlong) {
    const auto arguments = changed(R"({"bps": 7, "bps_max": 8, "bps_max_length": 9})",
                                   {.numbers = {{"bps_max", 0}}, .group = {}});
    EXPECT_EQ(arguments.at("bps"), 7U);
    EXPECT_EQ(arguments.at("bps_max"), 0U);
    EXPECT_FALSE(arguments.contains("bps_max_length"));
}

TEST(CtlThrottle, TheSizeOfARequestGoesWithTheLastLimitOfRequests) {
    const char* const limits = R"({"iops": 7, "iops_size": 512, "bps": 9})";
    EXPECT_FALSE(changed(limits, {.numbers = {{"iops", 0}}, .group = {}}).contains("iops_size"));
    EXPECT_EQ(changed(limits, {.numbers = {{"bps", 0}}, .group = {}}).at("iops_size"), 512U);
    EXPECT_EQ(
        changed(limits, {.numbers = {{"iops", 0}, {"iops_rd", 5}}, .group = {}}).at("iops_size"),
        512U);
    // Who says so is told that it makes no sense.
    EXPECT_EQ(changed(limits, {.numbers = {{"iops", 0}, {"iops_size", 4096}}, .group = {}})
                  .at("iops_size"),
              4096U);
}

TEST(CtlThrottle, AGroupAloneJoinsItWithTheLimitsThatItHas) {
    json::array disks = one_disk(R"({"iops": 7})").as_array();
    json::value other = disks.at(0);
    other.at("device") = "disk1";
    other.at("inserted") = {
        {"iops", 100}, {"iops_max", 200}, {"iops_max_length", 1}, {"group", "g"}};
    disks.push_back(other);
    const AnsweringMachine machine(
        {{"query-block", disks}, {"block_set_io_throttle", json::object{}}});
    EXPECT_EQ(run_ctl(machine.path(), {"throttle", "disk0", "--group", "g"}).status, 0);
    EXPECT_EQ(machine.requests().at(1).at("arguments"),
              json::parse(R"({"id": "disk0", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 100,
                              "iops_rd": 0, "iops_wr": 0, "iops_max": 200, "iops_max_length": 1,
                              "group": "g"})"));
}

TEST(CtlThrottle, AGroupWithoutLimitsIsNoneToJoin) {
    const AnsweringMachine machine({{"query-block", one_disk()}});
    const Result result = run_ctl(machine.path(), {"throttle", "disk0", "--group", "g"});
    EXPECT_EQ(result.status, 1);
    EXPECT_THAT(result.err, AllOf(HasSubstr("'g'"), HasSubstr("no limits")));
}

TEST(CtlThrottle, OffLiftsEveryLimit) {
    const AnsweringMachine machine(
        {{"query-block", one_disk()}, {"block_set_io_throttle", json::object{}}});
    EXPECT_EQ(run_ctl(machine.path(), {"throttle", "disk0", "--off"}).out, "no limits\n");
    EXPECT_EQ(machine.requests().at(0).at("arguments"),
              json::parse(R"({"id": "disk0", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0,
                              "iops_rd": 0, "iops_wr": 0})"));
}

TEST(CtlThrottle, WithoutAnOptionShowsTheLimits) {
    const AnsweringMachine machine(
        {{"query-block", one_disk(R"({"bps": 10485760, "iops": 100, "iops_max": 200,
                                      "iops_max_length": 3, "group": "g"})")}});
    EXPECT_EQ(run_ctl(machine.path(), {"throttle", "disk0"}).out,
              "device  limit   average  burst  for  group\n"
              "disk0   bps    10 MiB/s      -    -  g\n"
              "disk0   iops        100    200  3 s  g\n");
}

TEST(CtlThrottle, AnUnknownDeviceNamesTheKnownOnes) {
    const AnsweringMachine machine({{"query-block", one_disk()}});
    const Result result = run_ctl(machine.path(), {"throttle", "dsk", "--iops", "1"});
    EXPECT_EQ(result.status, 1);
    EXPECT_THAT(result.err, AllOf(HasSubstr("'dsk'"), HasSubstr("disk0")));
}

TEST(CtlBlock, ShowsDisksAndTheirLimits) {
    const AnsweringMachine machine({{"query-block", one_disk(R"({"iops": 100})")}});
    EXPECT_EQ(run_ctl(machine.path(), {"block"}).out,
              "device  file               driver   size  access      limits\n"
              "disk0   /dev/vhost-vdpa-0  vdpa    1 GiB  read-write  iops 100\n");
}

TEST(CtlBlockstats, ShowsWhatEachOperationTook) {
    const json::value reply = json::parse(R"([{"device": "disk0",
        "stats": {"rd_operations": 3, "rd_bytes": 4096, "rd_total_time_ns": 8000,
                  "failed_rd_operations": 1, "throttled_requests": 2, "throttled_time_ns": 5000000,
                  "rd_latency_histogram": {"boundaries": [1000, 3000], "bins": [0, 4, 0]}},
        "queues": [{"index": 3, "stats": {"wr_operations": 9}}]}])");
    const AnsweringMachine machine({{"query-blockstats", reply}});
    const std::string out = run_ctl(machine.path(), {"blockstats"}).out;
    EXPECT_THAT(out,
                HasSubstr("disk0     all  read              3       1  4 KiB  2.00 µs  2.00 µs"));
    EXPECT_THAT(out, HasSubstr("disk0           2  5.00 ms"));
    const AnsweringMachine again({{"query-blockstats", reply}});
    EXPECT_THAT(run_ctl(again.path(), {"blockstats", "--queues"}).out,
                HasSubstr("disk0       3  write             9"));
}

TEST(CtlEvents, AreALineEachUntilTheMachinesEnd) {
    const auto part = [](Peer& peer) {
        peer.begin();
        peer.say(
            "{\"event\": \"STOP\"}\r\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false}}");
    };
    const ScriptedMachine machine(part);
    const Result result = run_ctl(machine.path(), {"events"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out, "-  STOP\n-  SHUTDOWN  guest=false\n");
    const ScriptedMachine again(part);
    EXPECT_EQ(run_ctl(again.path(), {"events", "--json"}).out,
              "{\"event\":\"STOP\"}\n{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false}}\n");
}

TEST(CtlTop, PrintsOneTableAfterTheOtherWithoutATerminal) {
    const json::value vdpa = json::parse(
        R"([{"id": "disk0", "datapath": "fast", "queues": [{"index": 0, "ready": true}]}])");
    const std::map<std::string, json::value> answers{{"query-name", {{"name", "vm1"}}},
                                                     {"query-status", {{"status", "running"}}},
                                                     {"query-vdpa", vdpa},
                                                     {"query-blockstats", json::array{}}};
    const AnsweringMachine machine(answers);
    const Result result = run_ctl(machine.path(), {"top", "--count", "2", "--interval", "10ms"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, AllOf(HasSubstr("vm1  running  "), HasSubstr("every 10.0 ms\n\ndevice"),
                                  HasSubstr("\n\nvm1"), Not(HasSubstr("\033"))));
    const AnsweringMachine again(answers);
    const std::string line =
        run_ctl(again.path(), {"top", "--count", "1", "--interval", "10ms", "--json"}).out;
    EXPECT_EQ(json::parse(line).at(0).at("path"), "fast");
}

TEST(CtlQmp, PrintsTheReplyAndForProgramsItsValue) {
    const std::map<std::string, json::value> answers{{"query-stats", {{"a", 1}}}};
    const AnsweringMachine machine(answers);
    EXPECT_EQ(run_ctl(machine.path(), {"qmp", "query-stats", "target=vm"}).out,
              "{\n  \"return\": {\n    \"a\": 1\n  }\n}\n");
    EXPECT_EQ(machine.requests().at(0),
              (json::object{{"execute", "query-stats"}, {"arguments", {{"target", "vm"}}}}));
    const AnsweringMachine again(answers);
    EXPECT_EQ(
        run_ctl(again.path(), {"qmp", R"({"execute": "query-stats", "id": 7})", "--json"}).out,
        "{\n  \"a\": 1\n}\n");
    EXPECT_EQ(again.requests().at(0).at("id"), 7);
}

TEST(CtlQmp, TakesAWholeRequestOrACommandWithArguments) {
    EXPECT_EQ(parse_request({R"({"execute": "stop", "id": "a"})"}),
              (json::object{{"execute", "stop"}, {"id", "a"}}));
    EXPECT_EQ(parse_request({"stop"}), (json::object{{"execute", "stop"}}));
    EXPECT_EQ(parse_request({"x", "n=7", "b=true", "s=disk0", "l=[1]", "e=a=b"}).at("arguments"),
              json::parse(R"({"n": 7, "b": true, "s": "disk0", "l": [1], "e": "a=b"})"));
}

TEST(CtlQmp, ARequestThatIsNoneSaysHowToWriteIt) {
    const auto refused = [](const std::vector<std::string>& words) {
        return [words] { (void)parse_request(words); };
    };
    EXPECT_THAT(refused({"{\"execute\""}), ThrowsMessage<UsageError>(HasSubstr("not JSON")));
    EXPECT_THAT(refused({"[]"}), ThrowsMessage<UsageError>(HasSubstr("names no command")));
    EXPECT_THAT(refused({"{\"execute\": 7}"}),
                ThrowsMessage<UsageError>(HasSubstr("names no command")));
    EXPECT_THAT(refused({"stop", "now"}), ThrowsMessage<UsageError>(HasSubstr("name=value")));
    EXPECT_THAT(refused({""}), ThrowsMessage<UsageError>(HasSubstr("which command")));
}

}  // namespace
}  // namespace viaduct::ctl
