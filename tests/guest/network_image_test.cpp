// Machines whose disk is an NBD server's export.
#include <algorithm>

#include <fmt/format.h>

#include "tests/guest/qmp_machine.hpp"
#include "tests/support/nbd_server.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

/// nbdkit over a fresh pattern image.
class Export {
public:
    void restart() {
        server_.kill();
        server_.start();
    }
    [[nodiscard]] std::string device(const std::string& properties = "") const {
        return "vdpa,image=" + server_.uri() + (properties.empty() ? "" : "," + properties);
    }

private:
    [[nodiscard]] std::string make_image() const {
        std::string path = directory_.path("disk.raw");
        make_pattern_image(path, 16U << 20);
        return path;
    }

    TemporaryDirectory directory_;
    NbdServer server_ = nbdkit({"file", make_image()});
};

class NbdDisk : public testing::TestWithParam<const char*> {};

TEST_P(NbdDisk, PassesTheProbesScenario) {
    const Export disk;
    expect_probe_passes({.scenario = GetParam(), .options = {"--device", disk.device()}});
}

TEST_P(NbdDisk, PassesTheProbesScenarioOnTheSlowPath) {
    const Export disk;
    expect_probe_passes(
        {.scenario = GetParam(), .options = {"--device", disk.device("datapath=slow")}});
}

INSTANTIATE_TEST_SUITE_P(Scenarios, NbdDisk,
                         testing::Values("read-write", "flush", "discard", "write-zeroes",
                                         "indirect", "past-end", "reset-mid-io rounds=10",
                                         "io-loop count=500"),
                         [](const auto& tested) {
                             std::string name = tested.param;
                             for (char& letter : name) {
                                 if (std::isalnum(static_cast<unsigned char>(letter)) == 0) {
                                     letter = '_';
                                 }
                             }
                             return name;
                         });

TEST(NbdDiskUnderLoad, IsSwitchedAndItsServerRestarted) {
    Export disk;
    const TemporaryDirectory directory;
    const std::string socket = directory.path("qmp");
    Process process(
        probe_command({.scenario = "deep-io write=on drain=200 tick=20 depth=8 event-idx=on",
                       .options = {"--qmp", "unix:" + socket, "--cpus", "2", "--device",
                                   disk.device("id=disk0")}}),
        Seconds(90.0 * repeated(1)));
    ASSERT_TRUE(process.wait_for_output("tick 1", long_enough)) << process.err();
    tests::QmpClient qmp(socket);
    qmp.negotiate();
    for (unsigned i = 0; i < repeated(10); ++i) {
        const char* const mode = i % 2 == 0 ? "slow" : "fast";
        (void)qmp.execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", mode}});
        if (i % 5 != 4) continue;
        disk.restart();
    }
    (void)qmp.execute("quit");
    const Outcome outcome = process.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_EQ(outcome.out.find("FAIL"), std::string::npos) << outcome.out;
}

TEST(NbdDiskErrors, AreToldInOneLine) {
    const Outcome outcome = run(probe_command(
        {.scenario = "hello", .options = {"--device", "vdpa,image=nbd+unix:///?socket=/no/such"}}));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.err.find("cannot be reached"), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

}  // namespace
}  // namespace viaduct::test
