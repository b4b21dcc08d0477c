// Disks that viaduct-export makes of images: for machines, by vhost-vdpa, and for this host, by
// virtio-vdpa. Its daemon ends in every way there is.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

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
#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

bool is_on_the_bus(const std::string& name) {
    return std::filesystem::exists("/sys/bus/vdpa/devices/" + name);
}

std::string shell(const std::string& command) {
    const Outcome outcome = run({"bash", "-euo", "pipefail", "-c", command}, Seconds(120));
    EXPECT_EQ(outcome.status, 0) << command << '\n' << outcome.out << outcome.err;
    return outcome.out;
}

Outcome probe(const ExportedDisk& disk, const std::string& scenario,
              const std::string& properties = "") {
    return run({viaduct_program(), "run", "--kernel", probe_image(), "--append",
                "scenario=" + scenario + " timeout=60", "--memory", "64M", "--debug-exit",
                "--device", disk.option(properties)},
               Seconds(180));
}

class Export : public testing::Test {
protected:
    [[nodiscard]] std::string image(unsigned mebibytes = 16) const {
        return make_image(directory_, "raw", mebibytes);
    }
    static void expect_gone(ExportedDisk& disk) {
        const Outcome stopped = disk.stop();
        EXPECT_EQ(stopped.status, 0) << stopped.err;
        const Outcome daemon = disk.wait();
        EXPECT_EQ(daemon.status, 0) << daemon.err;
        EXPECT_FALSE(is_on_the_bus(disk.name()));
        EXPECT_FALSE(std::filesystem::exists("/dev/vduse/" + disk.name()));
        EXPECT_FALSE(std::filesystem::exists("/run/viaduct/" + disk.name()));
    }

    TemporaryDirectory directory_;
};

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

class ExportRefusals : public Export {
protected:
    static void expect_refusal(const std::vector<std::string>& options,
                               const testing::Matcher<const std::string&>& text,
                               const std::vector<std::string>& prefix = {}, int status = 1) {
        std::vector<std::string> command = prefix;
        command.insert(command.end(), {export_program(), "run"});
        command.insert(command.end(), options.begin(), options.end());
        const Outcome outcome = run(command);
        EXPECT_EQ(outcome.status, status) << outcome.out;
        EXPECT_THAT(outcome.err, text);
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
        EXPECT_FALSE(is_on_the_bus("other"));
        EXPECT_FALSE(std::filesystem::exists("/dev/vduse/other"));
    }
};

TEST_F(ExportRefusals, NamesThatAreTakenOrCannotBe) {
    const std::string path = image();
    const TemporaryDirectory elsewhere;
    const std::string other = make_image(elsewhere, "raw", 1);
    ExportedDisk disk("disk0", path);
    expect_refusal(
        {"--name", "disk0", "--image", other},
        AllOf(HasSubstr("disk0 is exported already"), HasSubstr(std::to_string(disk.pid()))));
    expect_refusal({"--name", "other", "--image", path},
                   HasSubstr("another process has locked it"));
    expect_refusal({"--name", "a/b", "--image", other},
                   HasSubstr("'a/b' cannot be a device's name"));
    expect_refusal({"--name", "control", "--image", other}, HasSubstr("cannot be a device's name"));
    disk.kill();
    expect_refusal({"--name", "disk0", "--image", other}, HasSubstr("the same command"));
    disk.start();
    expect_gone(disk);
}

TEST_F(ExportRefusals, OptionsThatMakeNoSense) {
    const std::string path = image(1);
    expect_refusal({"--name", "other", "--image", path, "--queue-size", "100"},
                   HasSubstr("power of two"));
    expect_refusal({"--name", "other", "--image", path, "--queues", "0"}, HasSubstr("1 to 64"));
    expect_refusal({"--name", "other", "--image", path, "--block-size", "1000"},
                   HasSubstr("512 or 4096"));
    expect_refusal({"--name", "other", "--image", path + ".missing"}, HasSubstr("does not exist"));
    expect_refusal({"--name", "other"}, HasSubstr("--image"), {}, 2);
    expect_refusal({"--name", "other", "--image", path, "--attach", "vhots"},
                   HasSubstr("vhost, virtio or none"), {}, 2);
}

TEST_F(ExportRefusals, AUserWhoMayNot) {
    const std::string path = image(1);
    expect_refusal({"--name", "other", "--image", path},
                   AllOf(HasSubstr("/dev/vduse/control"), HasSubstr("root")),
                   {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
}

TEST_F(ExportRefusals, AModuleThatCannotBeLoaded) {
    const std::string path = image(1);
    shell("modprobe -r vduse; mount -t tmpfs none /lib/modules");
    expect_refusal({"--name", "other", "--image", path}, HasSubstr("vduse"));
    shell("umount /lib/modules; modprobe vduse");
    ExportedDisk disk("disk0", path);
    expect_gone(disk);
}

TEST_F(ExportRefusals, ADeviceOfAnotherProgram) {
    const std::string path = image(1);
    const TemporaryDirectory elsewhere;
    const Outcome made = run({"export-vduse", "other-one", make_image(elsewhere, "raw", 1)});
    ASSERT_EQ(made.status, 0) << made.err;
    std::filesystem::remove("/run/viaduct/other-one");
    expect_refusal({"--name", "other-one", "--image", path},
                   HasSubstr("no export of ours made it"));
    EXPECT_TRUE(is_on_the_bus("other-one"));
    EXPECT_EQ(run({"remove-vdpa", "other-one"}).status, 0);
}

}  // namespace
}  // namespace viaduct::test
