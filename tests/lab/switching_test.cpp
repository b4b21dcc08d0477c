// One stock guest with two vCPUs whose devices change their data paths while it works: VDUSE, which
// has to be drained, and the simulators, which suspend. The hardware case cannot: vp_vdpa does not
// let a ring begin where another has left it. It is booted once, and the tests follow one another
// in it.
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/in_one_world.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/support/meanwhile.hpp"
#include "tests/support/qmp_watch.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Milliseconds = std::chrono::milliseconds;

/// vda to vdc and eth0 in the guest, in this order.
struct World {
    TemporaryDirectory directory;
    std::string image = make_image(directory, "raw", 64);
    LabDevice vduse = LabDevice::vduse("vduse", image, {"--queues", "2"});
    LabDevice simulated = LabDevice::simulated_disk("simulated");
    LabDevice hardware = LabDevice::hardware("hardware", "disk1");
    LabDevice net = LabDevice::simulated_net("net");
    LinuxGuest guest{{.kernel = "vmlinux",
                      .append = "",
                      .memory = "256M",
                      .cpus = 2,
                      .devices = {vduse.option(), simulated.option(), hardware.option(),
                                  net.option("datapath=auto")}}};
};

/// Turns in which each of the two disks that can switch does so 30 times.
constexpr unsigned both_disks = 60;

/// Verified I/O on all disks, again and again until the guest finds /tmp/stop. Those that switch
/// are used through file systems.
std::string load_of_depth(unsigned depth) {
    return "dmesg -c >/dev/null; rm -f /tmp/stop /tmp/failed /tmp/ended; mkdir -p /mnt/a /mnt/b; "
           "mount /dev/vda /mnt/a && mount /dev/vdb /mnt/b && "
           "(while [ ! -e /tmp/stop ]; do fio --direct=1 --ioengine=libaio --iodepth=" +
           std::to_string(depth) +
           " --rw=randrw --bsrange=512-256k --size=4M --verify=crc32c --verify_fatal=1 --minimal "
           // Both of vda's queues: each processor has its own.
           "--name=a --filename=/mnt/a/file --cpus_allowed=0 "
           "--name=d --filename=/dev/vda --offset=32M --size=1M --cpus_allowed=1 "
           "--name=b --filename=/mnt/b/file --name=c --filename=/dev/vdc || { touch /tmp/failed; "
           "break; }; done; touch /tmp/ended) "
           ">/tmp/load 2>&1 &";
}

class Switching : public InOneWorld<World> {
protected:
    static void SetUpTestSuite() {
        limit_iotlb_entries(1'000'000);
        InOneWorld::SetUpTestSuite();
    }
    void SetUp() override {
        InOneWorld::SetUp();
        for (const char* id : {"vduse", "simulated", "net"}) set(id, "fast");
        in_guest(
            "umount /mnt/a /mnt/b 2>/dev/null; /bin/mke2fs -q -t ext4 -F /dev/vda 32M && "
            "/bin/mke2fs -q -t ext4 -F /dev/vdb 32M");
        watch_.emplace(guest().client(), Milliseconds(20));
    }
    void TearDown() override {
        const auto answers = watch_->end();
        EXPECT_TRUE(answers.prompt()) << answers;
    }

    static LinuxGuest& guest() { return world().guest; }
    static std::string in_guest(const std::string& command) { return guest().expect(command); }

    static boost::json::value set(const std::string& id, const std::string& mode) {
        return guest().qmp().execute("vdpa-set-datapath", {{"id", id}, {"mode", mode}},
                                     std::chrono::seconds(60));
    }

    /// Does `turn` so many times while the guest works, at intervals that no two have in common.
    void while_the_guest_works(unsigned depth, unsigned turns,
                               const std::function<void(unsigned turn)>& turn) {
        in_guest(load_of_depth(depth));
        for (unsigned count = 0; count < turns; ++count) {
            std::this_thread::sleep_for(
                Milliseconds(std::uniform_int_distribution<unsigned>(5, 125)(random_)));
            turn(count);
        }
        in_guest(
            "touch /tmp/stop; while [ ! -e /tmp/ended ]; do sleep 0.1; done; "
            "[ ! -e /tmp/failed ] || { cat /tmp/load; exit 1; }");
        in_guest("umount /mnt/a /mnt/b && e2fsck -f -n /dev/vda && e2fsck -f -n /dev/vdb");
        expect_nothing_amiss();
    }
    static void expect_nothing_amiss() {
        EXPECT_EQ(in_guest("dmesg | grep -E 'WARNING|BUG|Oops|Call Trace|rcu:|I/O error|blocked "
                           "for more|timed out' || true"),
                  "");
        EXPECT_TRUE(world().vduse.daemon_lives());
    }

    /// One disk after the other, to the path that it is not on.
    void switch_next(unsigned turn) {
        const auto report =
            set(turn % 2 == 0 ? "vduse" : "simulated", turn / 2 % 2 == 0 ? "slow" : "fast");
        EXPECT_NE(report.at("from"), report.at("to")) << turn;
    }

    static void set_limits(const std::string& id, std::uint64_t iops) {
        guest().qmp().execute("block_set_io_throttle",
                              {{"id", id},
                               {"bps", 0},
                               {"bps_rd", 0},
                               {"bps_wr", 0},
                               {"iops", iops},
                               {"iops_rd", 0},
                               {"iops_wr", 0}},
                              std::chrono::seconds(60));
    }

    /// Without a control queue the simulator knows no address of the card's, and returns
    /// broadcasts.
    static void bring_the_card_up() {
        in_guest(
            "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set eth0 address "
            "52:54:00:12:34:56 && ip link set eth0 up && "
            "ip address replace 10.0.0.1/24 broadcast 10.0.0.255 dev eth0");
    }
    /// That the guest has sent ("tx") or received ("rx").
    static unsigned long frames(const std::string& direction) {
        return std::stoul(in_guest("cat /sys/class/net/eth0/statistics/" + direction + "_packets"));
    }

    std::mt19937 random_{2026};
    std::optional<QmpWatch> watch_;
};

TEST_F(Switching, LosesNothingUnderLoad) {
    while_the_guest_works(32, repeated(both_disks), [&](unsigned turn) { switch_next(turn); });
    const auto devices = guest().qmp().execute("query-vdpa");
    for (const auto& queue : devices.at(0).at("queues").as_array()) {
        EXPECT_GT(queue.at("counters").at("chains").to_number<unsigned>(), 0U) << queue.at("index");
    }
}

TEST_F(Switching, OfADeviceThatCannotTakeARingOverIsRefusedAtOnce) {
    try {
        set("hardware", "slow");
        ADD_FAILURE() << "it was taken to the slow path, and could never come back";
    } catch (const tests::QmpRefusal& refused) {
        EXPECT_THAT(refused.what(), HasSubstr("VHOST_SET_VRING_BASE"));
    }
    // Even a device that never leaves the fast path offers no more than the transport carries.
    const auto devices = guest().qmp().execute("query-vdpa");
    EXPECT_THAT(boost::json::serialize(devices.at(2).at("offered-features")),
                AllOf(HasSubstr("VIRTIO_F_VERSION_1"), Not(HasSubstr("VIRTIO_F_RING_RESET"))));
}

TEST_F(Switching, LosesNothingAtQueueDepth1) {
    while_the_guest_works(1, repeated(both_disks), [&](unsigned turn) { switch_next(turn); });
}

TEST_F(Switching, LosesNothingWhileLimitsComeAndGo) {
    for (const char* id : {"vduse", "simulated"}) set(id, "auto");
    while_the_guest_works(32, repeated(30), [&](unsigned turn) {
        set_limits("vduse", turn % 2 == 0 ? 2000 : 0);
        set_limits("simulated", turn % 2 == 0 ? 0 : 2000);
    });
    set_limits("vduse", 0);
    set_limits("simulated", 0);
}

TEST_F(Switching, LosesNothingWhileTheMachineStopsAndGoesOn) {
    Meanwhile other(guest().client(), [](tests::QmpClient& qmp) {
        qmp.execute("stop", {}, std::chrono::seconds(60));
        qmp.execute("cont", {}, std::chrono::seconds(60));
        std::this_thread::sleep_for(Milliseconds(100));
    });
    while_the_guest_works(32, repeated(both_disks), [&](unsigned turn) { switch_next(turn); });
    EXPECT_GT(other.end(), 10U);
}

TEST_F(Switching, LosesNothingWhileADriverIsBoundAnew) {
    // One after the other: the kernel gives a disk that comes the first letter that is free.
    in_guest(
        "dmesg -c >/dev/null; rm -f /tmp/stop /tmp/ended /tmp/failed; (cd "
        "/sys/bus/virtio/drivers/virtio_blk; "
        "while [ ! -e /tmp/stop ]; do for d in vda vdb; do "
        "v=$(basename $(readlink /sys/block/$d/device)); echo $v >unbind && echo $v >bind && "
        "fio --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bsrange=512-64k --size=256k "
        "--verify=crc32c --verify_fatal=1 --minimal --name=$d --filename=/dev/$d || "
        "{ touch /tmp/failed /tmp/stop; break; }; done; done; touch /tmp/ended) "
        ">/tmp/load 2>&1 &");
    std::map<std::string, unsigned> moved;
    for (unsigned turn = 0; turn < repeated(both_disks); ++turn) {
        std::this_thread::sleep_for(
            Milliseconds(std::uniform_int_distribution<unsigned>(5, 125)(random_)));
        const std::string disk = turn % 2 == 0 ? "vduse" : "simulated";
        const auto report = set(disk, turn / 2 % 2 == 0 ? "slow" : "fast");
        if (report.at("from") != report.at("to")) ++moved[disk];
    }
    in_guest(
        "touch /tmp/stop; while [ ! -e /tmp/ended ]; do sleep 0.1; done; "
        "[ ! -e /tmp/failed ] || { cat /tmp/load; exit 1; }");
    for (const char* disk : {"vduse", "simulated"}) {
        EXPECT_GT(moved[disk], 5U) << disk << " was hardly ever caught with a driver";
    }
    expect_nothing_amiss();
}

TEST_F(Switching, LosesNoFrame) {
    bring_the_card_up();
    for (unsigned round = 0; round < repeated(1); ++round) {
        for (const char* mode : {"slow", "fast"}) {
            set("net", mode);
            const auto before = frames("rx");
            guest().sh("ping -q -i 0.01 -W 1 -c 20 10.0.0.255");
            EXPECT_EQ(frames("rx"), before + 20) << mode;
        }
    }
}

TEST_F(Switching, LosesHardlyAFrameThatIsUnderWay) {
    bring_the_card_up();
    const auto sent = frames("tx");
    const auto received = frames("rx");
    in_guest(
        "rm -f /tmp/stop /tmp/ended; (while [ ! -e /tmp/stop ]; do "
        "ping -q -i 0.001 -W 1 -c 50 10.0.0.255; done; touch /tmp/ended) >/dev/null 2>&1 &");
    for (unsigned turn = 0; turn < repeated(10); ++turn) {
        std::this_thread::sleep_for(
            Milliseconds(std::uniform_int_distribution<unsigned>(10, 100)(random_)));
        set("net", turn % 2 == 0 ? "slow" : "fast");
    }
    in_guest("touch /tmp/stop; while [ ! -e /tmp/ended ]; do sleep 0.1; done");
    EXPECT_GT(frames("tx"), sent + 20) << "hardly any frame was under way";
    const auto lost = (frames("tx") - sent) - (frames("rx") - received);
    // What comes while the new path has no buffers yet is dropped by the card, as by any.
    EXPECT_LE(lost, repeated(10) / 5);
    const auto before = frames("rx");
    guest().sh("ping -q -i 0.01 -W 1 -c 20 10.0.0.255");
    EXPECT_EQ(frames("rx"), before + 20);
}

}  // namespace
}  // namespace viaduct::test
