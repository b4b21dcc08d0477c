// Disks that viaduct-export makes of images: for machines, by vhost-vdpa, and for this host, by
// virtio-vdpa. Its daemon ends in every way there is.
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/lab/export_fixture.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Outcome probe(const ExportedDisk& disk, const std::string& scenario,
              const std::string& properties = "") {
    return run({viaduct_program(), "run", "--kernel", probe_image(), "--append",
                "scenario=" + scenario + " timeout=60", "--memory", "64M", "--debug-exit",
                "--device", disk.option(properties)},
               Seconds(180));
}

/// A VMM that does nothing but reset its device, each time a message to the daemon.
pid_t start_resetting(const std::string& node) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    const int fd = ::open(node.c_str(), O_RDWR | O_CLOEXEC);
    const std::uint8_t none = 0;
    while (::ioctl(fd, VHOST_VDPA_SET_STATUS, &none) == 0) {
    }
    ::_exit(1);
}

TEST_F(Export, ServesMachinesOneAfterTheOther) {
    ExportedDisk disk("disk0", image(), {"--queues", "2", "--serial", "S123"});
    EXPECT_THAT(disk.node(), testing::StartsWith("/dev/vhost-vdpa-"));
    for (const char* scenario :
         {"read-write", "flush", "discard", "write-zeroes", "multi-queue queues=2",
          "reinit rounds=3", "reset-mid-io rounds=20", "event-idx", "size-limits",
          "config-access"}) {
        const Outcome outcome = probe(disk, scenario);
        EXPECT_EQ(outcome.status, probe_passed) << scenario << outcome.out << outcome.err;
    }
    const Outcome slow = probe(disk, "read-write", "datapath=slow");
    EXPECT_EQ(slow.status, probe_passed) << slow.out << slow.err;
    EXPECT_EQ(disk.log(), "");
    expect_gone(disk);
}

TEST_F(Export, IsADiskOfThisHost) {
    const std::string path = image(64);
    ExportedDisk disk("disk0", path, {"--attach", "virtio", "--serial", "S123"});
    ASSERT_THAT(disk.node(), testing::StartsWith("/dev/vd"));
    const std::string name = disk.node().substr(5);
    EXPECT_EQ(shell("cat /sys/block/" + name + "/serial"), "S123");
    EXPECT_EQ(shell("cat /sys/block/" + name + "/size"), "131072\n");
    const Outcome verified = run(disk.verified_io(4), Seconds(120));
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    shell("modprobe ext4; mke2fs -q -t ext4 " + disk.node());
    // Used from a mount name space of its own, as a container's would be.
    shell("unshare --mount bash -euc 'mkdir -p /tmp/mnt; mount " + disk.node() +
          " /tmp/mnt; head -c 4M /dev/urandom >/tmp/mnt/file; sha256sum </tmp/mnt/file >/tmp/sum; "
          "echo 3 >/proc/sys/vm/drop_caches; sha256sum </tmp/mnt/file | cmp - /tmp/sum; "
          "umount /tmp/mnt'");
    EXPECT_EQ(disk.log(), "");
    expect_gone(disk);
    shell("e2fsck -f -n " + path);
}

TEST_F(Export, SaysWhoUsesItWhenAskedToStop) {
    ExportedDisk disk("disk0", image(), {"--attach", "virtio"});
    Process user({"bash", "-c", "exec 3<" + disk.node() + "; echo open; exec sleep 3600"},
                 Seconds(120));
    ASSERT_TRUE(user.wait_for_output("open", Seconds(10)));
    const Outcome refused = disk.stop();
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, AllOf(HasSubstr("in use by"), HasSubstr(std::to_string(user.pid()))));
    EXPECT_TRUE(disk.lives());
    // A signal waits for them.
    disk.send_signal(SIGTERM);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_TRUE(disk.lives());
    EXPECT_THAT(disk.log(), HasSubstr("in use by"));
    user.send_signal(SIGTERM);
    EXPECT_EQ(disk.wait().status, 0);
    EXPECT_FALSE(is_on_the_bus("disk0"));
}

TEST_F(Export, KnowsOfAMountInAnotherNamespace) {
    ExportedDisk disk("disk0", image(64), {"--attach", "virtio"});
    shell("modprobe ext4; mke2fs -q -t ext4 " + disk.node());
    Process container(
        {"unshare", "--mount", "bash", "-euc",
         "mkdir -p /tmp/mnt; mount " + disk.node() + " /tmp/mnt; echo mounted; exec sleep 3600"},
        Seconds(120));
    ASSERT_TRUE(container.wait_for_output("mounted", Seconds(10))) << container.err();
    const Outcome refused = disk.stop();
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, AllOf(HasSubstr("mounted on /tmp/mnt for"),
                                   HasSubstr(std::to_string(container.pid()))));
    container.send_signal(SIGTERM);
    container.wait();
    std::this_thread::sleep_for(std::chrono::seconds(1));  // the kernel unmounts after its end
    expect_gone(disk);
}

TEST_F(Export, GoesOnAfterAKillWhileThisHostUsesIt) {
    ExportedDisk disk("disk0", image(64), {"--attach", "virtio", "--queues", "2"});
    for (unsigned round = 0; round < repeated(3); ++round) {
        Process load(disk.verified_io(8), Seconds(120));
        std::this_thread::sleep_for(std::chrono::milliseconds(700));
        disk.kill();
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        EXPECT_TRUE(load.running()) << "it was done before the kill";
        disk.start();
        const Outcome outcome = load.wait();
        EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    }
    EXPECT_EQ(shell("dmesg | grep -E 'I/O error|WARNING|BUG' || true"), "");
    expect_gone(disk);
}

TEST_F(Export, WaitsForTheLastIoOfAKilledDaemonBeforeItDoesItAgain) {
    const std::string path = image(16);
    make_pattern_image(path, std::uint64_t{16} << 20);
    shell("modprobe -a loop dm_delay; loop=$(losetup --find --show " + path +
          "); echo 0 32768 delay $loop 0 3000 $loop 0 0 | dmsetup create slow; dmsetup mknodes");
    ExportedDisk disk("disk0", "/dev/mapper/slow", {"--attach", "virtio"});
    Process reader({"dd", "if=" + disk.node(), "of=" + directory_.path("read"), "bs=4k", "count=1",
                    "skip=16", "iflag=direct", "status=none"},
                   Seconds(60));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto killed = std::chrono::steady_clock::now();
    disk.send_signal(SIGKILL);
    disk.start();
    const Seconds waited = std::chrono::steady_clock::now() - killed;
    EXPECT_GT(waited.count(), 1.5) << "the read of before was still under way";
    const Outcome outcome = reader.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    shell("cmp -n 4096 -i 0:65536 " + directory_.path("read") + " " + path);
    expect_gone(disk);
    shell("dmsetup remove slow; losetup --detach-all");
}

TEST_F(Export, TakesAwayWhatAKilledDaemonLeft) {
    ExportedDisk disk("disk0", image());
    disk.kill();
    EXPECT_TRUE(is_on_the_bus("disk0"));
    const Outcome stopped = disk.stop();
    EXPECT_EQ(stopped.status, 0) << stopped.err;
    EXPECT_FALSE(is_on_the_bus("disk0"));
    EXPECT_FALSE(std::filesystem::exists("/dev/vduse/disk0"));
    const Outcome again = disk.stop();
    EXPECT_EQ(again.status, 1);
    EXPECT_THAT(again.err, HasSubstr("there is no export 'disk0'"));
}

TEST_F(Export, EndsThoughItsDeviceWasTakenOffTheBus) {
    const std::vector<std::string> take_it_off{VIADUCT_CTL, "devices", "del", "disk0"};
    ExportedDisk disk("disk0", image());
    const Outcome off = run(take_it_off);
    EXPECT_EQ(off.status, 0) << off.err;
    expect_gone(disk);
    ExportedDisk next("disk0", image());
    EXPECT_EQ(run(take_it_off).status, 0);
    next.send_signal(SIGTERM);
    const Outcome daemon = next.wait();
    EXPECT_EQ(daemon.status, 0) << daemon.err;
    EXPECT_FALSE(std::filesystem::exists("/dev/vduse/disk0"));
    EXPECT_FALSE(std::filesystem::exists("/run/viaduct/disk0"));
}

TEST_F(Export, StaysWhereItWasBoundWhenItIsTakenOver) {
    ExportedDisk disk("disk0", image(), {"--attach", "virtio"});
    disk.bind_to_vhost();
    const std::string node = disk.node();
    disk.kill();
    disk.start();
    EXPECT_EQ(disk.node(), node);
    const Outcome outcome = probe(disk, "read-write");
    EXPECT_EQ(outcome.status, probe_passed) << outcome.out << outcome.err;
    expect_gone(disk);
}

TEST_F(Export, GrowsWithItsImage) {
    const std::string path = image(16);
    ExportedDisk disk("disk0", path, {"--attach", "virtio"});
    const std::string size = "cat /sys/block/" + disk.node().substr(5) + "/size";
    EXPECT_EQ(shell(size), "32768\n");
    std::filesystem::resize_file(path, std::uintmax_t{32} << 20);
    const Outcome grown = run({export_program(), "resize", "disk0"});
    EXPECT_EQ(grown.status, 0) << grown.err;
    EXPECT_THAT(grown.out, HasSubstr("33554432"));
    EXPECT_EQ(shell("for i in $(seq 50); do [ $(" + size +
                    ") = 65536 ] && break; sleep 0.1; done; " + size),
              "65536\n");
    shell("dd if=/dev/zero of=" + disk.node() + " bs=1M seek=31 count=1 oflag=direct status=none");
    std::filesystem::resize_file(path, std::uintmax_t{8} << 20);
    const Outcome refused = run({export_program(), "resize", "disk0"});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr("does not become smaller"));
    expect_gone(disk);
}

TEST_F(Export, GrowsWhileNobodyUsesIt) {
    const std::string path = image(16);
    ExportedDisk disk("disk0", path);
    std::filesystem::resize_file(path, std::uintmax_t{32} << 20);
    const Outcome grown = run({export_program(), "resize", "disk0"});
    EXPECT_EQ(grown.status, 0) << grown.err;
    EXPECT_THAT(grown.out, HasSubstr("33554432"));
    shell("modprobe -a virtio_vdpa virtio_blk; " + std::string(VIADUCT_CTL) +
          " devices bind disk0 virtio");
    EXPECT_EQ(shell("cat /sys/bus/vdpa/devices/disk0/virtio*/block/vd*/size"), "65536\n");
    EXPECT_EQ(disk.log(), "");
    expect_gone(disk);
}

TEST_F(Export, OutlivesAMachineThatIsKilledUnderLoad) {
    ExportedDisk disk("disk0", image(), {"--queues", "2"});
    for (unsigned round = 0; round < repeated(20); ++round) {
        Process machine(
            {viaduct_program(), "run", "--kernel", probe_image(), "--append",
             "scenario=deep-io write=on depth=32 queues=2 tick=5", "--memory", "64M",
             "--debug-exit", "--device", disk.option(round % 2 == 0 ? "" : "datapath=slow")},
            Seconds(120));
        EXPECT_TRUE(machine.wait_for_output("tick 1", Seconds(60))) << machine.err();
        machine.send_signal(SIGKILL);
        machine.wait();
        EXPECT_TRUE(disk.lives());
    }
    const Outcome next = probe(disk, "read-write");
    EXPECT_EQ(next.status, probe_passed) << next.out << next.err;
    expect_gone(disk);
}

TEST_F(Export, OfABlockDeviceIsVerifiedAndFlushesWhatIsBelow) {
    const std::string path = image();
    const std::string loop = shell("modprobe loop; echo -n $(losetup --find --show " + path + ")");
    {
        ExportedDisk disk("disk0", loop, {"--attach", "virtio"});
        const Outcome verified = run(disk.verified_io(4), Seconds(120));
        EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
        const auto flushes = [&] {
            return std::stoul(shell("awk '{print $16}' /sys/block/" + loop.substr(5) + "/stat"));
        };
        const auto before = flushes();
        shell("dd if=/dev/zero of=" + disk.node() + " bs=4k count=1 conv=fsync status=none");
        EXPECT_GT(flushes(), before);
        expect_gone(disk);
    }
    shell("losetup --detach " + loop);
}

TEST_F(Export, OutlivesMachinesThatAreKilledBeforeTheyHaveTheirAnswer) {
    ExportedDisk disk("disk0", image());
    for (unsigned round = 0; round < 50; ++round) {
        const pid_t machine = start_resetting(disk.node());
        ASSERT_GT(machine, 0);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_EQ(::kill(machine, SIGKILL), 0);
        int status = 0;
        EXPECT_EQ(::waitpid(machine, &status, 0), machine);
        EXPECT_TRUE(WIFSIGNALED(status)) << "a reset failed in round " << round;
    }
    EXPECT_EQ(disk.log(), "");
    const Outcome next = probe(disk, "read-write");
    EXPECT_EQ(next.status, probe_passed) << next.out << next.err;
    expect_gone(disk);
}

TEST_F(Export, CanBeEndedWhenTheKernelHasGivenItsDeviceUp) {
    ExportedDisk disk("disk0", image());
    shell("echo 1 >/sys/class/vduse/disk0/msg_timeout");
    disk.send_signal(SIGSTOP);
    EXPECT_NE(probe(disk, "read-write").status, probe_passed);
    disk.send_signal(SIGCONT);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_THAT(disk.log(),
                AllOf(HasSubstr("given the device up"), HasSubstr("viaduct-export stop disk0")));
    const std::string log = disk.log();
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
    const std::string ticks =
        "awk '{print $14 + $15}' /proc/" + std::to_string(disk.pid()) + "/stat";
    const int before = std::stoi(shell(ticks));
    std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_LT(std::stoi(shell(ticks)) - before, 20) << "it spins";
    // Not by the next daemon either.
    disk.kill();
    EXPECT_THAT([&] { disk.start(); },
                testing::ThrowsMessage<Error>(HasSubstr("viaduct-export stop disk0")));
    EXPECT_EQ(disk.stop().status, 0);
    disk.start();
    const Outcome healthy = probe(disk, "read-write");
    EXPECT_EQ(healthy.status, probe_passed) << healthy.out << healthy.err;
    expect_gone(disk);
}

TEST_F(Export, PassesOnThatTheFileSystemIsFull) {
    const std::string folder = directory_.path("small");
    const std::string path = folder + "/disk.raw";
    shell("mkdir " + folder + "; mount -t tmpfs -o size=4M none " + folder + "; truncate -s 16M " +
          path);
    {
        ExportedDisk disk("disk0", path, {"--attach", "virtio"});
        const std::vector<std::string> write{"dd",          "if=/dev/zero", "of=" + disk.node(),
                                             "bs=64k",      "seek=100",     "count=100",
                                             "oflag=direct"};
        EXPECT_NE(run(write).status, 0);
        EXPECT_TRUE(disk.lives());
        EXPECT_THAT(disk.log(), AllOf(HasSubstr("a write at"), HasSubstr("No space left")));
        shell("dd if=" + disk.node() + " of=/dev/null bs=64k iflag=direct status=none");
        shell("mount -o remount,size=32M " + folder);
        EXPECT_EQ(run(write).status, 0) << "there is room again";
        expect_gone(disk);
    }
    shell("umount " + folder);
}

/// A service manager's ear (sd_notify(3)).
class NotifySocket {
public:
    explicit NotifySocket(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const auto* plain = reinterpret_cast<const sockaddr*>(&address);
        if (!socket_ || ::bind(socket_.get(), plain, sizeof address) != 0) throw SystemError(path);
        ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    }
    NotifySocket(const NotifySocket&) = delete;
    NotifySocket& operator=(const NotifySocket&) = delete;
    ~NotifySocket() { ::unsetenv("NOTIFY_SOCKET"); }

    /// The next message; nothing when none comes.
    [[nodiscard]] std::string heard() const {
        std::array<char, 256> text{};
        pollfd message{socket_.get(), POLLIN, 0};
        if (::poll(&message, 1, 10'000) != 1) return {};
        const ssize_t length = ::recv(socket_.get(), text.data(), text.size(), 0);
        return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
    }

private:
    Fd socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

TEST_F(Export, TellsItsServiceManagerWhenItIsReadyAndWhenItEnds) {
    const NotifySocket manager(directory_.path("notify"));
    ExportedDisk disk("disk0", image());
    EXPECT_EQ(manager.heard(), "READY=1\nSTATUS=disk0 is " + disk.node());
    expect_gone(disk);
    EXPECT_EQ(manager.heard(), "STOPPING=1");
}

}  // namespace
}  // namespace viaduct::test
