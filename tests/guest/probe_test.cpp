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
const std::vector<std::string> memory_above_4_gib{"--memory", "5G"};

INSTANTIATE_TEST_SUITE_P(Machine, Probe,
                         testing::Values(Scenario{"hello"}, Scenario{"acpi"}, Scenario{"rtc"},
                                         Scenario{"unknown-ports"}, Scenario{"reset how=cf9"},
                                         Scenario{"reset how=acpi"}, Scenario{"reset how=keyboard"},
                                         Scenario{"cpu-topology cpus=4", "", four_cpus},
                                         Scenario{"smp cpus=4", "", four_cpus},
                                         Scenario{"memory-map memory=134217728"}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(Pci, Probe,
                         testing::Values(Scenario{"pci-identity device=2"}, Scenario{"pci-access"},
                                         Scenario{"bar-sizing"}, Scenario{"bar-relocation"},
                                         Scenario{"pci-cfg-window"}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(Transport, Probe,
                         testing::Values(Scenario{"features"}, Scenario{"features-refused"},
                                         Scenario{"status-protocol"}, Scenario{"queue-registers"},
                                         Scenario{"bad-queue-address"}, Scenario{"config-access"},
                                         Scenario{"config-generation"}, Scenario{"isr-clears"},
                                         Scenario{"msix"}, Scenario{"msix-masked"},
                                         Scenario{"msix-function-mask"}, Scenario{"msix-retarget"},
                                         Scenario{"intx"}, Scenario{"polling"}, Scenario{"size-limits"},
                                         Scenario{"size-limits max=64", "queue-size=64"}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(Io, Probe,
                         testing::Values(Scenario{"read-write"}, Scenario{"flush"},
                                         Scenario{"get-id serial=viaduct-1", "serial=viaduct-1"},
                                         Scenario{"discard"}, Scenario{"write-zeroes"}, Scenario{"indirect"},
                                         Scenario{"event-idx"},
                                         Scenario{"multi-queue queues=4", "queues=4"},
                                         Scenario{"smp-io cpus=4 queues=4", "queues=4", four_cpus},
                                         Scenario{"past-end"}, Scenario{"readonly", "readonly=on"},
                                         Scenario{"hostile-descriptors"}, Scenario{"io-loop count=500"}),
                         name_of);

TEST(Resets, AreSurvivedInTheMiddleOfIo) {
    const TemporaryDirectory directory;
    expect_probe_passes({.scenario = fmt::format("reset-mid-io rounds={}", repeated(20)),
                         .options = {"--device", image_device(directory)},
                         .deadline = Seconds(90) * repeated(1)});
}

TEST(Resets, LeaveNothingInTheWayOfADriverThatStartsFromScratch) {
    const TemporaryDirectory directory;
    expect_probe_passes({.scenario = fmt::format("reinit rounds={}", repeated(5)),
                         .options = {"--device", image_device(directory)},
                         .deadline = Seconds(90) * repeated(1)});
}

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
