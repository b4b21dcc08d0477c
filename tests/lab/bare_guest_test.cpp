// The bare-metal guest on devices of every kind. Where a test leaves one out, the device cannot
// show what is tested: the simulator has one queue and neither EVENT_IDX nor INDIRECT_DESC, and
// qemu-storage-daemon sends an interrupt of its own for every queue that starts, so that interrupts
// are not counted there.
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/lab/in_one_world.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {
namespace {

struct Devices {
    TemporaryDirectory directory;
    LabDevice vduse = LabDevice::vduse("vduse", make_image(directory, "raw", 16),
                                       {"--queues", "2", "--queue-size", "1024"});
    LabDevice simulated = LabDevice::simulated_disk("simulated");
    LabDevice hardware = LabDevice::hardware("hardware", "disk1");
};

class BareGuest : public InOneWorld<Devices> {
protected:
    static void SetUpTestSuite() {
        limit_iotlb_entries(1'000'000);
        InOneWorld::SetUpTestSuite();
    }
    void TearDown() override { EXPECT_TRUE(vduse().daemon_lives()); }

    static LabDevice& vduse() { return world().vduse; }
    static LabDevice& simulated() { return world().simulated; }
    static LabDevice& hardware() { return world().hardware; }

    static void expect_pass(const LabDevice& device, const std::string& scenario,
                            const std::string& properties = "",
                            const std::vector<std::string>& options = {}) {
        expect_pass(device.option(properties), scenario, options);
    }

    /// `device` is the value of --device.
    static void expect_pass(const std::string& device, const std::string& scenario,
                            const std::vector<std::string>& options) {
        expect_pass({}, device, scenario, options);
    }

    /// `prefix` runs what follows it.
    static void expect_pass(std::vector<std::string> prefix, const std::string& device,
                            const std::string& scenario, const std::vector<std::string>& options) {
        std::vector<std::string> command = std::move(prefix);
        const std::vector<std::string> run_it{"prlimit",
                                              "--memlock=unlimited",
                                              viaduct_program(),
                                              "run",
                                              "--kernel",
                                              probe_image(),
                                              "--append",
                                              "scenario=" + scenario + " timeout=60",
                                              "--memory",
                                              "64M",
                                              "--debug-exit",
                                              "--device",
                                              device};
        command.insert(command.end(), run_it.begin(), run_it.end());
        command.insert(command.end(), options.begin(), options.end());
        const Outcome outcome = run(command, Seconds(180));
        EXPECT_EQ(outcome.status, probe_passed) << scenario << " on " << device << '\n'
                                                << outcome.out << outcome.err;
    }

    static void expect_pass_on_all(const std::string& scenario) {
        expect_pass(vduse(), scenario);
        expect_pass(simulated(), scenario);
        expect_pass(hardware(), scenario);
    }
};

TEST_F(BareGuest, ReadsAndWrites) {
    expect_pass_on_all("read-write");
}

TEST_F(BareGuest, IsHandedADeviceThatIsOpen) {
    // Its node cannot be opened a second time.
    for (const LabDevice* device : {&vduse(), &simulated(), &hardware()}) {
        for (const char* scenario : {"read-write", "reinit rounds=3"}) {
            expect_pass({"bash", "-c", R"(exec 7<>"$0"; exec "$@")", device->path()}, "vdpa,fd=7",
                        scenario, {});
        }
    }
}

TEST_F(BareGuest, EveryRingTheGuestEnabledIsEnabledBeforeDriverOk) {
    expect_pass(vduse(), "smp-io cpus=2 queues=2", "", {"--cpus", "2"});
    expect_pass(hardware(), "multi-queue queues=2");
}

TEST_F(BareGuest, RingBaseIsZeroAfterReset) {
    expect_pass_on_all("reinit rounds=3");
}

TEST_F(BareGuest, CallsAreSetAgainAfterEveryReset) {
    // Each of these is a reset, and then one interrupt for each request.
    expect_pass(simulated(), "msix");
    expect_pass(hardware(), "msix queues=2");
}

TEST_F(BareGuest, ResetsTheDeviceInTheMiddleOfIoTwentyTimes) {
    expect_pass_on_all("reset-mid-io rounds=20");
}

TEST_F(BareGuest, QueueCountAndQueueSizesComeFromTheDevice) {
    expect_pass(vduse(), "queue-registers queues=2");
    expect_pass(simulated(), "queue-registers queues=1");
    expect_pass(hardware(), "queue-registers queues=2");
    expect_pass(vduse(), "queue-registers queues=2", "queue-size=64");
}

TEST_F(BareGuest, QueuesWorkInEverySizeUpToTheDevices) {
    expect_pass_on_all("size-limits");
}

TEST_F(BareGuest, MsixVectorMaskedThenUnmaskedWithAnInterruptPending) {
    expect_pass(simulated(), "msix-masked");
    expect_pass(hardware(), "msix-masked");
}

TEST_F(BareGuest, UsesInterruptsOfTheOldKind) {
    // Not on VDUSE: qemu-storage-daemon sends an interrupt of its own for each queue it starts.
    expect_pass(simulated(), "intx spurious=0");
    expect_pass(hardware(), "intx spurious=0");
}

TEST_F(BareGuest, PollsWithoutInterrupts) {
    expect_pass(simulated(), "polling");
    expect_pass(hardware(), "polling");
}

TEST_F(BareGuest, BelievesEventIndices) {
    expect_pass(hardware(), "event-idx");
}

TEST_F(BareGuest, MovesTheDoorbellsWithTheirBar) {
    expect_pass(vduse(), "bar-relocation");
    expect_pass(hardware(), "bar-relocation");
}

TEST_F(BareGuest, ReadsADoorbellItNeverWroteTo) {
    expect_pass_on_all("doorbell-read");
}

TEST_F(BareGuest, ReadsTheDevicesConfigurationByteByByte) {
    expect_pass_on_all("config-access");
}

/// Of the host, made when somebody wants them.
void allow_huge_pages(unsigned count) {
    std::ofstream("/proc/sys/vm/nr_overcommit_hugepages") << count;
}

TEST_F(BareGuest, HasItsHugePagesFromTheStart) {
    const std::vector<std::string> options{"--memory", "64M,hugepages=on"};
    std::vector<std::string> command{viaduct_program(), "run",      "--kernel",
                                     probe_image(),     "--append", "scenario=spin"};
    command.insert(command.end(), options.begin(), options.end());
    allow_huge_pages(48);  // a machine and a half
    {
        const Process first(command, Seconds(180));
        ASSERT_TRUE(first.wait_for_output("tick 1", Seconds(60))) << first.err();
        const Outcome second = run(command);
        EXPECT_EQ(second.status, 1);
        EXPECT_NE(second.err.find("32 huge pages of 2048 KiB are needed"), std::string::npos)
            << second.err;
    }
    expect_pass(simulated(), "read-write", "", options);
    allow_huge_pages(0);
}

TEST_F(BareGuest, HasABlockDeviceOfTheHostAsItsEmbeddedDevice) {
    const TemporaryDirectory directory;
    ASSERT_EQ(run({"modprobe", "loop"}).status, 0);
    const Outcome attached = run({"losetup", "--find", "--show", make_image(directory, "raw", 16)});
    ASSERT_EQ(attached.status, 0) << attached.err;
    const std::string path = attached.out.substr(0, attached.out.find('\n'));
    for (const char* scenario : {"read-write", "flush", "discard", "write-zeroes"}) {
        expect_pass("vdpa,image=" + path, scenario, {});
    }
    EXPECT_EQ(run({"losetup", "--detach", path}).status, 0);
}

}  // namespace
}  // namespace viaduct::test
