// One stock guest, booted from its vmlinux, with one vCPU, huge pages, and interrupts by line: its
// virtio devices have no MSI-X. It is booted once, and the tests follow one another in it.
#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/lab/in_one_world.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/lab/vmm_observation.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;

constexpr const char* verified_load =
    "fio --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bsrange=512-64k --size=1M "
    "--verify=crc32c --verify_fatal=1 --minimal --name=a --filename=/dev/vda --name=b "
    "--filename=/dev/vdb --name=c --filename=/dev/vdc";
constexpr const char* endless_load =
    "for d in vda vdb vdc; do (while :; do dd if=/dev/$d of=/dev/null bs=64k count=200 "
    "iflag=direct; done) >/dev/null 2>&1 & done";

void reserve_huge_pages(unsigned mebibytes) {
    const unsigned wanted = mebibytes / 2;
    std::ofstream("/proc/sys/vm/nr_hugepages") << wanted;
    unsigned pages = 0;
    std::ifstream("/proc/sys/vm/nr_hugepages") >> pages;
    if (pages < wanted) throw Error("{} huge pages are needed, there are {}", wanted, pages);
}

/// vda to vdc in the guest, in this order.
struct World {
    TemporaryDirectory directory;
    LabDevice vduse =
        LabDevice::vduse("vduse", make_image(directory, "raw", 64), {"--queue-size", "1024"});
    LabDevice simulated = LabDevice::simulated_disk("simulated");
    LabDevice hardware = LabDevice::hardware("hardware", "disk0");
    LinuxGuest guest{
        {.kernel = "vmlinux",
         .append = "pci=nomsi",
         .memory = "256M,hugepages=on",
         .cpus = 1,
         .devices = {vduse.option("queue-size=64"), simulated.option(), hardware.option()}}};
};

class OneProcessor : public InOneWorld<World> {
protected:
    static void SetUpTestSuite() {
        reserve_huge_pages(256);
        InOneWorld::SetUpTestSuite();
    }

    static LinuxGuest& guest() { return world().guest; }
    static std::string in_guest(const std::string& command) { return guest().expect(command); }

    static std::uint64_t interrupts_by_line() {
        return std::stoull(in_guest(
            "awk '/IO-APIC.*virtio/ { n += $2 } /PCI-MSI/ { n = -1; exit } END { print n }' "
            "/proc/interrupts"));
    }
};

TEST_F(OneProcessor, WorksWithInterruptsByLine) {
    const auto before = interrupts_by_line();
    in_guest(verified_load);
    EXPECT_GT(interrupts_by_line(), before + 50);
}

TEST_F(OneProcessor, UsesQueuesOfTheSizeThatTheOperatorChose) {
    const auto devices = guest().qmp().execute("query-vdpa");
    EXPECT_EQ(devices.at(0).at("queues").at(0).at("size").as_int64(), 64);
    EXPECT_EQ(devices.at(1).at("queues").at(0).at("size").as_int64(), 256);
}

TEST_F(OneProcessor, HasRequestsLongerThanItsRingOnBothPaths) {
    // The device takes chains of 1024, and the guest makes them by indirect tables.
    for (const char* path : {"slow", "fast"}) {
        guest().qmp().execute("vdpa-set-datapath", {{"id", "vduse"}, {"mode", path}},
                              std::chrono::seconds(60));
        in_guest(
            "fio --direct=1 --ioengine=libaio --iodepth=4 --rw=randrw --bs=1280k --size=10M "
            "--verify=crc32c --verify_fatal=1 --minimal --name=a --filename=/dev/vda");
    }
    EXPECT_TRUE(world().vduse.daemon_lives());
}

TEST_F(OneProcessor, SurvivesAResetOfTheMachineInTheMiddleOfIo) {
    for (unsigned round = 0; round < repeated(1); ++round) {
        in_guest(endless_load);
        guest().qmp().execute("system_reset", {}, std::chrono::seconds(60));
        guest().wait_until_ready();
        EXPECT_TRUE(world().vduse.daemon_lives());
        in_guest(verified_load);
    }
}

TEST_F(OneProcessor, EndsInOrderOnSigtermInTheMiddleOfIo) {
    in_guest(endless_load);
    guest().send_signal(SIGTERM);
    const Outcome outcome = guest().wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_TRUE(world().vduse.daemon_lives());
    // The devices are there for the next.
    for (const LabDevice* device : {&world().vduse, &world().simulated, &world().hardware}) {
        const Outcome next =
            run({"prlimit", "--memlock=unlimited", viaduct_program(), "run", "--kernel",
                 probe_image(), "--append", "scenario=read-write", "--memory", "256M,hugepages=on",
                 "--debug-exit", "--device", device->option()});
        EXPECT_THAT(next.out, HasSubstr("PASS")) << device->name() << next.out << next.err;
    }
}

}  // namespace
}  // namespace viaduct::test
