// block_set_io_throttle of the program: what is asked for is what is in force, for a device and for
// all that share its group.
#include <string>
#include <thread>
#include <vector>

#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>

#include "tests/guest/frozen_thread.hpp"
#include "tests/guest/qmp_machine.hpp"

namespace viaduct::test {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using tests::QmpClient;
using tests::QmpRefusal;

constexpr const char* two_busy_disks =
    "deep-io write=on devices=2 drain=200 tick=20 depth=8 timeout=60";

/// The command's arguments: the six averages are always given.
json::object limits(const std::string& disk, const json::object& others = {}) {
    json::object all{{"id", disk}};
    for (const auto* const name : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}) {
        all[name] = 0;
    }
    for (const auto& [name, value] : others) all[name] = value;
    return all;
}

void set(QmpClient& qmp, const json::object& arguments) {
    (void)qmp.execute("block_set_io_throttle", arguments);
}

/// "class: text" of the error that a command ends in.
std::string refusal(QmpClient& qmp, const std::string& command, const json::object& arguments) {
    try {
        (void)qmp.execute(command, arguments, std::chrono::seconds(30));
    } catch (const QmpRefusal& refused) {
        return refused.error_class() + ": " + refused.what();
    }
    return "no refusal";
}

json::value inserted(QmpClient& qmp, unsigned disk) {
    return qmp.execute("query-block").at(disk).at("inserted");
}

std::string datapath_of(QmpClient& qmp, unsigned disk) {
    return qmp.execute("query-vdpa").at(disk).at("datapath").as_string().c_str();
}

bool is_limited(QmpClient& qmp, unsigned disk) {
    return inserted(qmp, disk).as_object().contains("group");
}

/// The second disk stands still, with requests in flight that do not come back.
FrozenThread without_disk1(QmpMachine& machine) {
    return {machine.process().pid(), "soft-queue", FrozenThread::Where::submitting};
}

TEST(QmpLimits, ComeBackFromQueryBlockArgumentForArgument) {
    QmpMachine machine("spin tick=0");
    auto& qmp = machine.qmp();
    const json::object together{{"bps", 1000},       {"bps_max", 2000}, {"bps_max_length", 3},
                                {"iops", 100},       {"iops_max", 200}, {"iops_max_length", 4},
                                {"iops_size", 4096}, {"group", "g"}};
    const json::object apart{{"bps_rd", 1000},   {"bps_rd_max", 2000}, {"bps_rd_max_length", 2},
                             {"bps_wr", 1001},   {"bps_wr_max", 2001}, {"bps_wr_max_length", 3},
                             {"iops_rd", 10},    {"iops_rd_max", 20},  {"iops_rd_max_length", 4},
                             {"iops_wr", 11},    {"iops_wr_max", 21},  {"iops_wr_max_length", 5},
                             {"iops_size", 512}, {"group", "g"}};
    for (const json::object& wanted : {together, apart}) {
        json::object arguments = limits("disk0", wanted);
        set(qmp, arguments);
        arguments.erase("id");
        const auto told = inserted(qmp, 0);
        for (const auto& [name, value] : arguments) {
            const auto* const found = told.as_object().if_contains(name);
            ASSERT_NE(found, nullptr) << name;
            EXPECT_EQ(*found, value) << name;
        }
    }
    json::object by_older_name = limits("", {{"iops", 7}});
    by_older_name.erase("id");
    by_older_name["device"] = "disk0";
    set(qmp, by_older_name);
    const auto told = inserted(qmp, 0);
    EXPECT_EQ(told.at("iops"), 7);
    EXPECT_EQ(told.at("group"), "g") << "it stays where it was";
    for (const auto* const name : {"iops_max", "iops_rd", "bps_rd_max", "iops_size"}) {
        const auto* const found = told.as_object().if_contains(name);
        EXPECT_TRUE(found == nullptr || *found == 0) << name;
    }
}

TEST(QmpLimits, AndDataPathsThatCannotBeAreRefusedInQemusClasses) {
    QmpMachine machine("spin tick=0", {"", "datapath=fast-only", "datapath=fast"});
    auto& qmp = machine.qmp();
    struct Refused {
        const char* command;
        json::object arguments;
        const char* expected;
    };
    const auto path = [](const char* id, const char* mode) {
        return json::object{{"id", id}, {"mode", mode}};
    };
    json::object endless = path("disk0", "slow");
    endless["switch-timeout"] = -1;
    for (const Refused& each : std::vector<Refused>{
             {"block_set_io_throttle", limits("disk9", {{"iops", 1}}),
              "DeviceNotFound: Device 'disk9' not found"},
             {"vdpa-set-datapath", path("disk9", "slow"),
              "DeviceNotFound: Device 'disk9' not found"},
             {"block_set_io_throttle", limits("disk0", {{"iops", 1}, {"iops_rd", 1}}),
              "GenericError: device 'disk0': iops (1) and iops_rd (1) exclude each other"},
             {"block_set_io_throttle", limits("disk0", {{"bps_max", 5}}),
              "GenericError: device 'disk0': bps_max is 5, but there is no bps"},
             {"block_set_io_throttle", limits("disk0", {{"iops", -1}}),
              "GenericError: Parameter 'iops' does not accept value -1"},
             {"block_set_io_throttle", limits("disk1", {{"iops", 1}}),
              "GenericError: device 'disk1': it stays on the fast path: it was started with "
              "datapath=fast-only"},
             {"vdpa-set-datapath", path("disk1", "auto"),
              "GenericError: device 'disk1': it stays on the fast path: it was started with "
              "datapath=fast-only"},
             {"block_set_io_throttle", limits("disk2", {{"iops", 1}}),
              "GenericError: device 'disk2': its data path is 'fast' by the operator's word"},
             {"vdpa-set-datapath", path("disk0", "quick"), "GenericError: "},
             {"vdpa-set-datapath", endless, "GenericError: switch-timeout is -1 ms"}}) {
        EXPECT_THAT(refusal(qmp, each.command, each.arguments), testing::StartsWith(each.expected))
            << json::serialize(each.arguments);
    }
    for (const unsigned disk : {0U, 1U, 2U}) EXPECT_FALSE(is_limited(qmp, disk)) << disk;
}

TEST(QmpLimits, OfAllZeroesTakeOneDeviceOutOfItsGroup) {
    QmpMachine machine(two_busy_disks, {"", ""});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    const json::object shared{{"iops", 5000}, {"group", "both"}};
    set(qmp, limits("disk0", shared));
    set(qmp, limits("disk1", shared));
    set(qmp, limits("disk0"));
    EXPECT_FALSE(is_limited(qmp, 0));
    EXPECT_EQ(datapath_of(qmp, 0), "fast");
    EXPECT_EQ(inserted(qmp, 1).at("iops"), 5000);
    EXPECT_EQ(inserted(qmp, 1).at("group"), "both");
    EXPECT_EQ(datapath_of(qmp, 1), "slow");
    set(qmp, limits("disk0", {{"iops", 100}}));
    EXPECT_EQ(inserted(qmp, 0).at("group"), "disk0");
    EXPECT_EQ(inserted(qmp, 1).at("iops"), 5000);
}

TEST(QmpLimits, AreForAllOfTheGroupAtOnce) {
    QmpMachine machine(two_busy_disks, {"throttle.group=both", "throttle.group=both"});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    EXPECT_FALSE(is_limited(qmp, 1));
    set(qmp, limits("disk0", {{"iops", 5000}}));
    EXPECT_EQ(inserted(qmp, 1).at("iops"), 5000);
    EXPECT_EQ(datapath_of(qmp, 1), "slow");
}

TEST(QmpLimits, AreRefusedWithAMemberThatItsOperatorKeepsOnTheFastPath) {
    QmpMachine machine(two_busy_disks,
                       {"throttle.group=both", "throttle.group=both,datapath=fast"});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    EXPECT_THAT(refusal(qmp, "block_set_io_throttle", limits("disk0", {{"iops", 5000}})),
                testing::AllOf(HasSubstr("'disk1'"), HasSubstr("'fast' by the operator's word"),
                               HasSubstr("group 'both'")));
    for (const unsigned disk : {0U, 1U}) {
        EXPECT_FALSE(is_limited(qmp, disk)) << disk;
        EXPECT_EQ(datapath_of(qmp, disk), "fast") << disk;
    }
}

TEST(QmpLimits, ThatAMemberCannotFollowAreInForceForNone) {
    QmpMachine machine(two_busy_disks, {"throttle.group=both", "throttle.group=both,suspend=off"});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    {
        const FrozenThread disk1 = without_disk1(machine);
        EXPECT_THAT(refusal(qmp, "block_set_io_throttle", limits("disk0", {{"iops", 5000}})),
                    testing::AllOf(HasSubstr("'disk1'"), HasSubstr("group 'both'")));
    }
    for (const unsigned disk : {0U, 1U}) {
        EXPECT_FALSE(is_limited(qmp, disk)) << disk;
        EXPECT_EQ(datapath_of(qmp, disk), "fast") << disk;
    }
    set(qmp, limits("disk0", {{"iops", 5000}}));
    EXPECT_EQ(datapath_of(qmp, 1), "slow");
}

TEST(QmpLimits, AreInForceForTheOthersWhenAMemberIsBroken) {
    QmpMachine machine(two_busy_disks, {"throttle.group=both", "throttle.group=both,suspend=off"});
    auto& qmp = machine.qmp();
    ASSERT_TRUE(machine.process().wait_for_output("tick 1", long_enough));
    {
        const FrozenThread disk1 = without_disk1(machine);
        qmp.send(R"({"execute":"vdpa-set-datapath","arguments":{"id":"disk1","mode":"slow",)"
                 R"("switch-timeout":50,"on-timeout":"break"}})");
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    EXPECT_EQ(qmp.wait_event("VDPA_DEVICE_BROKEN").at("data").at("id"), "disk1");
    const auto client = machine.client();
    EXPECT_EQ(datapath_of(*client, 1), "broken");
    set(*client, limits("disk0", {{"iops", 5000}}));
    EXPECT_EQ(datapath_of(*client, 0), "slow");
    EXPECT_EQ(inserted(*client, 1).at("iops"), 5000);
}

TEST(LimitsAtStart, AreInForceFromTheFirstRequestOn) {
    QmpMachine machine("deep-io write=on tick=20 depth=32",
                       {"throttle.iops-total=200,throttle.group=g,poll-us=100"});
    auto& qmp = machine.qmp();
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(machine.process().wait_for_output("tick 5\n", long_enough));
    const Seconds took = std::chrono::steady_clock::now() - start;
    // 100 requests, of which a tenth of a second's worth may go at once.
    EXPECT_GT(took.count(), 0.3);
    EXPECT_EQ(datapath_of(qmp, 0), "slow");
    const auto told = inserted(qmp, 0);
    EXPECT_EQ(told.at("iops"), 200);
    EXPECT_EQ(told.at("group"), "g");
    EXPECT_GT(qmp.execute("query-blockstats").at(0).at("stats").at("throttled_requests").as_int64(),
              0);
}

}  // namespace
}  // namespace viaduct::test
