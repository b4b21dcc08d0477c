// viaductctl, the program, against a machine, the program: what one says the other understands.
#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/guest/qmp_machine.hpp"
#include "tests/support/eventually.hpp"

namespace viaduct::test {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A machine with two busy disks, and its operator at a shell.
class Ctl : public testing::Test {
protected:
    Ctl() : machine_("deep-io write=on devices=2 drain=200 tick=20 depth=8", {"", ""}) {
        EXPECT_TRUE(machine_.process().wait_for_output("tick 1", long_enough));
    }

    Outcome run_ctl(std::vector<std::string> words) {
        words.insert(words.begin(), {VIADUCT_CTL, "-s", machine_.socket()});
        return run(words);
    }
    /// What it prints; it succeeds without a word on stderr.
    std::string ctl(std::vector<std::string> words) {
        const Outcome outcome = run_ctl(std::move(words));
        EXPECT_EQ(outcome.status, 0) << outcome.err;
        EXPECT_EQ(outcome.err, "");
        return outcome.out;
    }
    json::value ctl_json(std::vector<std::string> words) {
        words.emplace_back("--json");
        return json::parse(ctl(std::move(words)));
    }
    /// The words of the line that begins with `first`.
    std::vector<std::string> row(const std::string& table, const std::string& first) {
        std::istringstream lines(table);
        for (std::string line; std::getline(lines, line);) {
            std::istringstream in(line);
            std::vector<std::string> words;
            for (std::string word; in >> word;) words.push_back(word);
            if (!words.empty() && words[0] == first) return words;
        }
        ADD_FAILURE() << "no line '" << first << "' in:\n" << table;
        return {};
    }
    /// What completion offers for a command line whose last word is being typed.
    std::vector<std::string> completed(const std::vector<std::string>& words) {
        std::string line =
            fmt::format("source '{}/scripts/completion/viaductctl.bash'; COMP_WORDS=('{}' -s '{}'",
                        VIADUCT_SOURCE_DIR, VIADUCT_CTL, machine_.socket());
        for (const std::string& word : words) line += " '" + word + "'";
        line += fmt::format(R"(); COMP_CWORD={}; _viaductctl; printf '%s\n' "${{COMPREPLY[@]}}")",
                            words.size() + 2);
        std::istringstream out(run({"bash", "-c", line}).out);
        std::vector<std::string> offered;
        for (std::string word; std::getline(out, word);) offered.push_back(word);
        return offered;
    }

    QmpMachine machine_;
};

TEST_F(Ctl, LooksAtTheMachine) {
    const std::string status = ctl({"status"});
    EXPECT_THAT(row(status, "status"), Contains("running"));
    EXPECT_THAT(row(status, "name"), Contains("viaduct"));
    EXPECT_THAT(row(status, "vcpus"), Contains("2"));
    EXPECT_EQ(ctl_json({"status"}).at("status"), "running");
    // id, type, backend, driver, policy, datapath, switchable, queues
    const auto disk = row(ctl({"vdpa"}), "disk0");
    ASSERT_EQ(disk.size(), 8U);
    EXPECT_THAT(disk, testing::ElementsAre("disk0", "block", HasSubstr("/"), "running", "auto",
                                           "fast", "yes", "1/1"));
    EXPECT_EQ(ctl_json({"vdpa"}).at(1).at("id"), "disk1");
    EXPECT_THAT(row(ctl({"block"}), "disk1"), Not(IsEmpty()));
    EXPECT_EQ(ctl_json({"block"}).at(0).at("device"), "disk0");
}

TEST_F(Ctl, SwitchesADiskAndCountsWhatItDoes) {
    EXPECT_THAT(ctl({"set-datapath", "disk0", "slow"}),
                AllOf(HasSubstr("disk0"), HasSubstr("fast"), HasSubstr("slow")));
    EXPECT_THAT(row(ctl({"vdpa"}), "disk0"), Contains("slow"));
    EXPECT_TRUE(eventually([&] {
        const auto stats = ctl_json({"blockstats"}).at(0).at("stats");
        return stats.at("rd_operations").to_number<std::uint64_t>() > 0;
    }));
    EXPECT_THAT(ctl({"blockstats"}), HasSubstr("disk0"));
    const std::string top = ctl({"top", "--count", "1", "--interval", "200ms"});
    EXPECT_THAT(top, AllOf(HasSubstr("disk0"), HasSubstr("disk1"), HasSubstr("slow")));
    EXPECT_EQ(ctl_json({"set-datapath", "disk0", "fast"}).at("from"), "slow");
}

TEST_F(Ctl, LimitsDisksTogetherAndApart) {
    EXPECT_THAT(ctl({"throttle", "disk0", "--iops", "5000", "--iops-max", "6000", "--group", "g"}),
                AllOf(HasSubstr("5000"), HasSubstr("6000")));
    EXPECT_THAT(ctl({"throttle", "disk1", "--group", "g"}), HasSubstr("6000"));
    EXPECT_THAT(ctl({"throttle", "disk0", "--iops-size", "4K"}), HasSubstr("5000"));
    EXPECT_EQ(ctl({"throttle", "disk0", "--off"}), "no limits\n");
    EXPECT_EQ(row(ctl({"throttle"}), "disk1").at(2), "5000");
    EXPECT_EQ(ctl({"throttle", "disk1", "--iops", "0"}), "no limits\n");
    EXPECT_THAT(row(ctl({"vdpa"}), "disk1"), Contains("fast"));
    const Outcome refused = run_ctl({"throttle", "disk9", "--iops", "1"});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr("disk0, disk1"));
}

TEST_F(Ctl, StopsContinuesAndEndsIt) {
    ctl({"stop"});
    EXPECT_THAT(row(ctl({"status"}), "status"), Contains("paused"));
    ctl({"cont"});
    EXPECT_EQ(ctl_json({"qmp", "query-status"}).at("status"), "running");
    EXPECT_EQ(json::parse(ctl({"qmp", R"({"execute": "query-name", "id": 7})"})).at("id"), 7);
    Process events({VIADUCT_CTL, "-s", machine_.socket(), "events"}, Seconds(60));
    // Whoever listens hears of it: once the first is heard, the others are too.
    for (int i = 0; i < 100 && !events.wait_for_output("STOP", Seconds(0.1)); ++i) {
        ctl({"stop"});
        ctl({"cont"});
    }
    ctl({"set-datapath", "disk1", "slow"});
    ctl({"quit"});
    const Outcome heard = events.wait();
    EXPECT_THAT(heard.out, AllOf(HasSubstr("VDPA_DATAPATH_CHANGED"), HasSubstr("disk1"),
                                 HasSubstr("SHUTDOWN")));
    EXPECT_EQ(machine_.process().wait().status, 0);
}

TEST_F(Ctl, CompletesWhatTheMachineHas) {
    EXPECT_THAT(completed({"set-datapath", ""}), testing::ElementsAre("disk0", "disk1"));
    EXPECT_THAT(completed({"throttle", "disk1"}), testing::ElementsAre("disk1"));
    EXPECT_THAT(completed({"set-datapath", "disk0", ""}),
                testing::UnorderedElementsAre("fast", "slow", "auto"));
    EXPECT_THAT(completed({"qmp", "query-block"}),
                testing::UnorderedElementsAre("query-block", "query-blockstats"));
    EXPECT_THAT(completed({"throttle", "disk0", "--iops-r"}), Contains("--iops-rd-max-length"));
}

}  // namespace
}  // namespace viaduct::test
