// The probe's scenarios, each a machine of its own on /dev/kvm with the embedded device. What a
// scenario proves is told in guest-images/probe/README.md.
#include <fmt/format.h>

#include "tests/guest/probe_run.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

struct Scenario {
    std::string scenario;
    std::string device = {};                // properties of the embedded device
    std::vector<std::string> options = {};  // of viaduct run
};

void PrintTo(const Scenario& value, std::ostream* out) {
    *out << value.scenario;
}

std::string name_of(const testing::TestParamInfo<Scenario>& info) {
    std::string name = info.param.scenario;
    for (char& letter : name) {
        if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '_';
    }
    return name;
}

class Probe : public testing::TestWithParam<Scenario> {};

TEST_P(Probe, Passes) {
    const TemporaryDirectory directory;
    const Scenario& scenario = GetParam();
    std::vector<std::string> options = scenario.options;
    options.insert(options.end(), {"--device", image_device(directory, scenario.device)});
    expect_probe_passes({.scenario = scenario.scenario, .options = options});
}

const std::vector<std::string> four_cpus{"--cpus", "4"};
const std::vector<std::string> as_many_cpus_as_there_can_be{"--cpus", "64"};
const std::vector<std::string> memory_above_4_gib{"--memory", "5G"};

INSTANTIATE_TEST_SUITE_P(Machine, Probe,
                         testing::Values(Scenario{"hello"}, Scenario{"acpi"}, Scenario{"rtc"},
                                         Scenario{"unknown-ports"}, Scenario{"reset how=cf9"},
                                         Scenario{"reset how=acpi"}, Scenario{"reset how=keyboard"},
                                         Scenario{"cpu-topology cpus=4", "", four_cpus},
                                         Scenario{"smp cpus=4", "", four_cpus},
                                         Scenario{"smp cpus=64", "", as_many_cpus_as_there_can_be},
                                         Scenario{"memory-map memory=134217728"}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(Pci, Probe,
                         testing::Values(Scenario{"pci-identity device=2"}, Scenario{"pci-access"},
                                         Scenario{"bar-sizing"}, Scenario{"bar-relocation"},
                                         Scenario{"pci-cfg-window"}),
                         name_of);

const std::vector<Scenario> transport{
    {"features"},
    {"features-refused"},
    {"status-protocol"},
    {"queue-registers"},
    {"bad-queue-address"},
    {"config-access"},
    {"config-generation"},
    {"isr-clears"},
    {"msix"},
    {"msix-masked"},
    {"msix-function-mask"},
    {"msix-retarget"},
    {"intx"},
    {"polling"},
    {"size-limits"},
    {"size-limits max=64", "queue-size=64"},
};

const std::vector<Scenario> io{
    {"read-write"},
    {"flush"},
    {"get-id serial=viaduct-1", "serial=viaduct-1"},
    {"discard"},
    {"write-zeroes"},
    {"indirect"},
    {"event-idx"},
    {"multi-queue queues=4", "queues=4"},
    {"smp-io cpus=4 queues=4", "queues=4", four_cpus},
    {"past-end"},
    {"readonly", "readonly=on"},
    {"hostile-descriptors"},
    {"io-loop count=500"},
};

/// The guest must not be able to tell.
std::vector<Scenario> on_the_slow_path(std::vector<Scenario> scenarios) {
    for (Scenario& scenario : scenarios) {
        scenario.device += (scenario.device.empty() ? "" : ",") + std::string("datapath=slow");
    }
    return scenarios;
}

INSTANTIATE_TEST_SUITE_P(Transport, Probe, testing::ValuesIn(transport), name_of);
INSTANTIATE_TEST_SUITE_P(TransportOnTheSlowPath, Probe,
                         testing::ValuesIn(on_the_slow_path(transport)), name_of);
INSTANTIATE_TEST_SUITE_P(Io, Probe, testing::ValuesIn(io), name_of);
INSTANTIATE_TEST_SUITE_P(IoOnTheSlowPath, Probe, testing::ValuesIn(on_the_slow_path(io)), name_of);

class Resets : public testing::TestWithParam<const char*> {};

TEST_P(Resets, AreSurvivedInTheMiddleOfIo) {
    const TemporaryDirectory directory;
    expect_probe_passes({.scenario = fmt::format("reset-mid-io rounds={}", repeated(20)),
                         .options = {"--device", image_device(directory, GetParam())},
                         .deadline = Seconds(90) * repeated(1)});
}

TEST_P(Resets, LeaveNothingInTheWayOfADriverThatStartsFromScratch) {
    const TemporaryDirectory directory;
    expect_probe_passes({.scenario = fmt::format("reinit rounds={}", repeated(5)),
                         .options = {"--device", image_device(directory, GetParam())},
                         .deadline = Seconds(90) * repeated(1)});
}

INSTANTIATE_TEST_SUITE_P(OnBothPaths, Resets, testing::Values("datapath=fast", "datapath=slow"),
                         [](const auto& tested) {
                             return std::string(tested.param).substr(sizeof "datapath");
                         });

TEST(Machine, HasMemoryAbove4GiB) {
    ProbeRun run{.scenario = "memory-map memory=5368709120", .options = memory_above_4_gib};
    expect_probe_passes(run);
}

TEST(Machine, StartsAKernelAtIts64BitEntry) {
    const Outcome outcome = run({viaduct_program(), "run", "--kernel", probe64_image(), "--append",
                                 "scenario=hello", "--memory", "128M", "--debug-exit"});
    EXPECT_EQ(outcome.status, probe_passed) << outcome.out << outcome.err;
}

TEST(Machine, ServesSeveralDevices) {
    const TemporaryDirectory directory;
    std::vector<std::string> options;
    for (int i = 0; i < 3; ++i)
        options.insert(options.end(), {"--device", image_device(directory)});
    expect_probe_passes({.scenario = "read-write", .options = options});
}

}  // namespace
}  // namespace viaduct::test
