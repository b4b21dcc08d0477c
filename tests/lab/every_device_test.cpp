// One stock guest, booted from its bzImage, with four vCPUs and a device of every kind at once. It
// is booted once, and the tests follow one another in it.
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/in_one_world.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/lab/silence.hpp"
#include "tests/lab/vmm_observation.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::IsSubsetOf;
using testing::SizeIs;

const std::string verified_load =
    "fio --loops=" + std::to_string(repeated(1)) +
    " --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bsrange=512-64k --size=2M "
    "--verify=crc32c --verify_fatal=1 --minimal --name=a --filename=/dev/vda --name=b "
    "--filename=/dev/vdb --name=c --filename=/dev/vdc --name=d --filename=/dev/vdd";

/// vda to vdd and eth0 in the guest, in this order.
struct World {
    TemporaryDirectory directory;
    std::string raw_image = make_image(directory, "raw", 64);
    LabDevice raw = LabDevice::vduse("raw", raw_image);
    LabDevice qcow2 = LabDevice::vduse("qcow2", make_image(directory, "qcow2", 96),
                                       {"--queues", "2", "--queue-size", "1024"});
    LabDevice simulated = LabDevice::simulated_disk("simulated");
    LabDevice hardware = LabDevice::hardware("hardware", "disk1");
    LabDevice net = LabDevice::simulated_net("net");
    LinuxGuest guest{{.kernel = "vmlinuz",
                      .append = "",
                      .memory = "256M",
                      .cpus = 4,
                      .devices = {raw.option(), qcow2.option(), simulated.option(),
                                  hardware.option(), net.option()}}};
    Silence silence{guest, "/dev/vda", raw_image};
};

class EveryDeviceAtOnce : public InOneWorld<World> {
protected:
    static void SetUpTestSuite() {
        limit_iotlb_entries(1'000'000);
        InOneWorld::SetUpTestSuite();
    }

    static LinuxGuest& guest() { return world().guest; }
    static pid_t vmm() { return guest().pid(); }
    static std::string in_guest(const std::string& command) { return guest().expect(command); }

    static void expect_every_device_works() {
        for (const char* disk : {"vda", "vdb", "vdc", "vdd"}) expect_disk_works(disk);
        expect_frames_come_back(10);
    }

    static void expect_disk_works(const std::string& disk) {
        in_guest("head -c 65536 /dev/urandom >/tmp/random && dd if=/tmp/random of=/dev/" + disk +
                 " bs=16k oflag=direct && dd if=/dev/" + disk +
                 " of=/tmp/read bs=16k count=4 iflag=direct && cmp /tmp/random /tmp/read");
    }

    /// Sends that many frames to the card's own address, which the driver tells the device through
    /// the control queue. They alone are to come back: IPv6 would send more.
    static void expect_frames_come_back(unsigned count) {
        in_guest(
            "cd /proc/sys/net/ipv6/conf/eth0 && echo 1 >disable_ipv6; "
            "ip link set eth0 address 52:54:00:12:34:56 && ip link set eth0 up && "
            "ip address replace 10.0.0.1/24 dev eth0 && "
            "arp -i eth0 -s 10.0.0.2 52:54:00:12:34:56");
        const auto before = frames();
        guest().sh("ping -q -i 0.005 -W 1 -c " + std::to_string(count) + " 10.0.0.2");
        const auto after = frames();
        EXPECT_EQ(after.first, before.first + count) << "sent";
        EXPECT_EQ(after.second, before.second + count) << "received";
    }

    /// Sent and received, as the guest counts them.
    static std::pair<unsigned long, unsigned long> frames() {
        const std::string counters = in_guest(
            "cat /sys/class/net/eth0/statistics/tx_packets "
            "/sys/class/net/eth0/statistics/rx_packets");
        std::size_t end = 0;
        const unsigned long sent = std::stoul(counters, &end);
        return {sent, std::stoul(counters.substr(end))};
    }
};

TEST_F(EveryDeviceAtOnce, IsFoundByTheGuestWithItsSizeAndItsQueues) {
    EXPECT_EQ(in_guest("for d in vda vdb vdc vdd; do echo $d $(($(cat /sys/block/$d/size) / 2048)) "
                       "$(ls /sys/block/$d/mq | wc -l); done"),
              "vda 64 1\nvdb 96 2\nvdc 128 1\nvdd 64 2");
    EXPECT_EQ(in_guest("nproc; cat /sys/class/net/eth0/device/device"), "4\n0x0001");
}

TEST_F(EveryDeviceAtOnce, LoopsBackEveryFrame) {
    expect_frames_come_back(200);
}

TEST_F(EveryDeviceAtOnce, PassesFioWithVerification) {
    in_guest(verified_load);
}

TEST_F(EveryDeviceAtOnce, HoldsAFileSystem) {
    in_guest(
        "head -c 524288 /dev/urandom >/tmp/random; sum=$(sha256sum </tmp/random); "
        "for d in vda vdb vdc vdd; do /bin/mke2fs -q -t ext4 -F /dev/$d 16M && "
        "mount /dev/$d /mnt && for i in 1 2 3 4; do cp /tmp/random /mnt/$i; done && "
        "umount /mnt && mount /dev/$d /mnt && for i in 1 2 3 4; do "
        "[ \"$(sha256sum </mnt/$i)\" = \"$sum\" ] || exit 7; done && umount /mnt && "
        "e2fsck -f -n /dev/$d || exit 8; done");
    // What the guest wrote is in the image.
    const Outcome check = run({"e2fsck", "-f", "-n", world().raw_image});
    EXPECT_EQ(check.status, 0) << check.out << check.err;
}

TEST_F(EveryDeviceAtOnce, IsUsedWithoutTheVmm) {
    for (const std::string command :
         {"dd if=/dev/vda bs=4k count=300 iflag=direct",
          "dd if=/dev/vdb bs=4k count=300 iflag=direct",
          "dd if=/dev/vdc bs=4k count=300 iflag=direct",
          "dd if=/dev/vdd bs=4k count=300 iflag=direct", "ping -q -i 0.001 -w 1 10.0.0.2"}) {
        std::map<std::string, std::uint64_t> exits;
        std::map<std::string, std::uint64_t> switches;
        world().silence.run(
            command,
            [&] {
                exits = exits_to_vmm(guest().qmp());
                switches = context_switches(vmm());
            },
            [&] {
                EXPECT_EQ(context_switches(vmm()), switches) << command;
                EXPECT_EQ(exits_to_vmm(guest().qmp()), exits) << command;
            });
    }
}

TEST_F(EveryDeviceAtOnce, IsKickedThroughItsDoorbellIfItHasOne) {
    EXPECT_EQ(pages_mapped(vmm(), world().hardware.path()), 2U);
    EXPECT_EQ(pages_mapped(vmm(), world().qcow2.path()), 0U);
    const auto kicked_while_reading = [&](const std::string& disk) {
        std::map<std::string, std::uint64_t> before;
        std::set<std::string> kicked;
        world().silence.run(
            "dd if=/dev/" + disk + " bs=4k count=100 iflag=direct",
            [&] { before = eventfd_counts(vmm()); },
            [&] {
                for (const auto& [fd, count] : eventfd_counts(vmm())) {
                    if (count != before[fd]) kicked.insert(fd);
                }
            });
        return kicked;
    };
    // The words of the silence itself pass through vda's.
    const auto by_words = kicked_while_reading("vdd");
    EXPECT_THAT(by_words, SizeIs(1));
    const auto by_words_and_reads = kicked_while_reading("vdb");
    EXPECT_THAT(by_words, IsSubsetOf(by_words_and_reads));
    EXPECT_THAT(by_words_and_reads, SizeIs(testing::Gt(1)));
}

TEST_F(EveryDeviceAtOnce, WorksAgainWhenItsDriverIsBoundAnew) {
    for (unsigned round = 0; round < repeated(1); ++round) {
        in_guest(
            "cd /sys/bus/pci/drivers/virtio-pci; for d in 0000:*; do echo $d >unbind; "
            "echo $d >bind; done");
        expect_every_device_works();
    }
}

TEST_F(EveryDeviceAtOnce, KeepsItsRequestsOverStopAndCont) {
    guest().begin(verified_load);
    for (unsigned round = 0; round < repeated(10); ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        guest().qmp().execute("stop", {}, std::chrono::seconds(60));
        guest().qmp().execute("cont", {}, std::chrono::seconds(60));
    }
    const Answer answer = guest().finish(LinuxGuest::patience * repeated(1));
    EXPECT_EQ(answer.status, 0) << answer.out;
    expect_every_device_works();
}

TEST_F(EveryDeviceAtOnce, SurvivesItsGuestsShutdown) {
    guest().qmp().execute("system_powerdown");
    const auto event = guest().qmp().wait_event("SHUTDOWN", std::chrono::seconds(120));
    EXPECT_TRUE(event.at("data").at("guest").as_bool());
    EXPECT_EQ(guest().wait().status, 0);
    EXPECT_TRUE(world().raw.daemon_lives());
    EXPECT_TRUE(world().qcow2.daemon_lives());
}

}  // namespace
}  // namespace viaduct::test
