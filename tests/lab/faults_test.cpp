// What stands behind a device dies or sleeps, while the device works and while it changes its data
// path: real VDUSE, real daemons. The guest, its other disk and QMP go on meanwhile; the disk comes
// back where it was, or is broken until a healthy one is there and the guest binds its driver anew.
#include <chrono>
#include <csignal>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/in_one_world.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/support/qmp_watch.hpp"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;

/// vda to vdc in the guest, in this order. The last is left alone, and works all the time.
struct World {
    TemporaryDirectory first_directory;
    TemporaryDirectory second_directory;
    TemporaryDirectory healthy_directory;
    LabDevice first = LabDevice::vduse("first", make_image(first_directory, "raw", 16));
    LabDevice second = LabDevice::vduse("second", make_image(second_directory, "raw", 16));
    LabDevice healthy = LabDevice::vduse("healthy", make_image(healthy_directory, "raw", 16));
    LinuxGuest guest{{.kernel = "vmlinux",
                      .append = "",
                      .memory = "256M",
                      .cpus = 2,
                      .devices = {first.option(), second.option(), healthy.option()}}};
};

std::string fio(const std::string& disk, const std::string& terms) {
    return "fio --direct=1 --ioengine=libaio --rw=randrw --bsrange=512-64k --verify=crc32c "
           "--verify_fatal=1 --minimal --name=" +
           disk + " --filename=/dev/" + disk + " " + terms;
}

class Faults : public InOneWorld<World> {
protected:
    void SetUp() override {
        InOneWorld::SetUp();
        in_guest("dmesg -c >/dev/null; rm -f /tmp/stop /tmp/failed /tmp/ended");
        in_guest("(while [ ! -e /tmp/stop ]; do " + fio("vdc", "--iodepth=4 --size=1M") +
                 " || { touch /tmp/failed; break; }; done; touch /tmp/ended) >/tmp/load 2>&1 &");
        watch_.emplace(guest().client(), std::chrono::milliseconds(20));
    }
    void TearDown() override {
        // Whatever a test left stopped would be waited for.
        for (const LabDevice* device : {&world().first, &world().second}) {
            if (device->daemon_lives()) device->signal_daemon(SIGCONT);
        }
        const auto answers = watch_->end();
        EXPECT_TRUE(answers.prompt()) << answers;
        in_guest(
            "touch /tmp/stop; while [ ! -e /tmp/ended ]; do sleep 0.1; done; "
            "[ ! -e /tmp/failed ] || { cat /tmp/load; exit 1; }");
        EXPECT_EQ(in_guest("dmesg | grep -E 'WARNING|BUG|blocked for more|vdc.*error' || true"),
                  "");
    }

    static LinuxGuest& guest() { return world().guest; }
    static std::string in_guest(const std::string& command) { return guest().expect(command); }

    static void set(const std::string& id, const std::string& mode) {
        guest().qmp().execute("vdpa-set-datapath", {{"id", id}, {"mode", mode}},
                              std::chrono::seconds(60));
    }
    /// A switch that may take its time, asked for by a client of its own; its report, or why not.
    static std::future<std::string> begin_to_set(const std::string& id, const std::string& mode) {
        return std::async(std::launch::async, [id, mode] {
            try {
                (void)guest().client()->execute("vdpa-set-datapath", {{"id", id}, {"mode", mode}},
                                                std::chrono::seconds(120));
                return std::string();
            } catch (const tests::QmpRefusal& refused) {
                return std::string(refused.what());
            }
        });
    }
    static bool is_pending(std::future<std::string>& answer) {
        return answer.wait_for(std::chrono::seconds(0)) == std::future_status::timeout;
    }
    static std::string path_of(std::size_t disk) {
        const auto reply = guest().qmp().execute("query-vdpa");
        return std::string(reply.at(disk).at("datapath").as_string());
    }

    /// For that long the guest answers and its healthy disk completes requests, all the time.
    static void expect_the_guest_goes_on(std::chrono::seconds duration) {
        const auto end = Clock::now() + duration;
        do {
            const auto asked = Clock::now();
            in_guest("dd if=/dev/vdc of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null");
            const Seconds taken = Clock::now() - asked;
            EXPECT_LT(taken.count(), 5.0) << "the guest or its healthy disk stands still";
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
        } while (Clock::now() < end);
    }
    static void expect_verified_io(const std::string& disk) {
        in_guest(fio(disk, "--iodepth=8 --size=2M"));
    }
    /// Returns with requests under way.
    static void begin_the_first_disks_load() {
        in_guest("rm -f /tmp/first; (" + fio("vda", "--iodepth=8 --size=4M") +
                 "; echo $? >/tmp/first) >/tmp/first-load 2>&1 &");
        in_guest("until [ $(awk '{print $9}' /sys/block/vda/stat) -gt 0 ]; do :; done");
    }
    static void expect_the_first_disks_load_succeeds() {
        EXPECT_EQ(in_guest("until [ -s /tmp/first ]; do sleep 0.1; done; cat /tmp/first"), "0")
            << in_guest("cat /tmp/first-load");
    }
    static void bind_anew(const std::string& disk) {
        in_guest("cd /sys/bus/virtio/drivers/virtio_blk; d=$(cat /tmp/" + disk +
                 ") && echo $d >unbind; echo $d >bind; until [ -b /dev/" + disk +
                 " ]; do sleep 0.1; done");
    }
    static void remember(const std::string& disk) {
        in_guest("basename $(readlink /sys/block/" + disk + "/device) >/tmp/" + disk);
    }

    std::optional<QmpWatch> watch_;
};

TEST_F(Faults, ADaemonKilledDuringIoLeavesTheRestAloneAndItsSuccessorGoesOn) {
    auto& disk = world().first;
    for (const char* mode : {"fast", "slow"}) {
        set("first", mode);
        begin_the_first_disks_load();
        disk.kill_daemon();
        expect_the_guest_goes_on(std::chrono::seconds(2));
        EXPECT_NE(in_guest("awk '{print $9}' /sys/block/vda/stat"), "0")
            << "nobody was there to complete it";
        EXPECT_EQ(in_guest("cat /tmp/first 2>/dev/null || true"), "") << "it was done too soon";
        EXPECT_EQ(path_of(0), mode);
        disk.restart_daemon();
        expect_the_first_disks_load_succeeds();
    }
}

TEST_F(Faults, ADaemonStoppedInTheMiddleOfASwitchHoldsUpThatDeviceAlone) {
    set("first", "fast");
    set("second", "slow");
    world().first.signal_daemon(SIGSTOP);
    world().second.signal_daemon(SIGSTOP);
    auto first = begin_to_set("first", "slow");
    auto second = begin_to_set("second", "fast");
    expect_the_guest_goes_on(std::chrono::seconds(20));
    EXPECT_TRUE(is_pending(first)) << "nothing was held up";
    EXPECT_TRUE(is_pending(second)) << "nothing was held up";
    world().first.signal_daemon(SIGCONT);
    world().second.signal_daemon(SIGCONT);
    EXPECT_EQ(first.get(), "");
    EXPECT_EQ(second.get(), "");
    EXPECT_EQ(path_of(0), "slow");
    EXPECT_EQ(path_of(1), "fast");
    expect_verified_io("vda");
    expect_verified_io("vdb");
}

TEST_F(Faults, ADaemonKilledInTheMiddleOfASwitchBreaksTheDeviceUntilAHealthyOneIsThere) {
    for (const char* mode : {"slow", "fast"}) {
        auto& disk = world().first;
        remember("vda");
        const char* const before = std::string_view(mode) == "slow" ? "fast" : "slow";
        set("first", before);
        disk.set_message_timeout(3);
        auto events = guest().client();
        // The switch is in the middle of an ioctl when the daemon dies.
        disk.signal_daemon(SIGSTOP);
        auto answer = begin_to_set("first", mode);
        std::this_thread::sleep_for(std::chrono::seconds(1));
        disk.kill_daemon();
        expect_the_guest_goes_on(std::chrono::seconds(4));
        EXPECT_NE(answer.get(), "") << "nobody was there to switch";
        const auto event = events->wait_event("VDPA_DEVICE_BROKEN", std::chrono::seconds(30));
        EXPECT_EQ(event.at("data").at("id"), "first");
        EXPECT_EQ(path_of(0), "broken");
        disk.replace();
        bind_anew("vda");
        expect_verified_io("vda");
        EXPECT_EQ(path_of(0), mode) << "a device that broke begins anew where it was sent";
    }
}

/// The long ones.
class FaultsUnderLoad : public Faults {};

TEST_F(FaultsUnderLoad, ADaemonKilledInTheMiddleOfASwitchIsSucceededInTime) {
    auto& disk = world().first;
    set("first", "fast");
    begin_the_first_disks_load();
    // The switch waits for an answer, then for who gives it.
    disk.signal_daemon(SIGSTOP);
    auto answer = begin_to_set("first", "slow");
    std::this_thread::sleep_for(std::chrono::seconds(1));
    disk.kill_daemon();
    expect_the_guest_goes_on(std::chrono::seconds(1));
    EXPECT_TRUE(is_pending(answer)) << "nobody was there to answer";
    disk.restart_daemon();
    EXPECT_EQ(answer.get(), "");
    EXPECT_EQ(path_of(0), "slow");
    expect_the_first_disks_load_succeeds();
}

TEST_F(FaultsUnderLoad, ADaemonKilledWhileItsRelaysAreDrainedLeavesTheDeviceWhereItWas) {
    auto& disk = world().first;
    set("first", "slow");
    begin_the_first_disks_load();
    disk.signal_daemon(SIGSTOP);
    // By then something is in flight.
    std::this_thread::sleep_for(std::chrono::seconds(1));
    auto answer = begin_to_set("first", "fast");
    std::this_thread::sleep_for(std::chrono::seconds(1));
    disk.kill_daemon();
    EXPECT_THAT(answer.get(), testing::HasSubstr("in flight after 5000 ms"));
    EXPECT_EQ(path_of(0), "slow");
    disk.restart_daemon();
    expect_the_first_disks_load_succeeds();
    set("first", "fast");
    expect_verified_io("vda");
}

}  // namespace
}  // namespace viaduct::test
