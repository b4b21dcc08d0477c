// Disks whose images are across a network: qcow2 by qemu-nbd, and nbdkit, which is killed under
// load and comes back, or answers with errors.
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;

/// A server of its own on a unix socket.
class NbdServer {
public:
    NbdServer(std::vector<std::string> command, std::string socket)
        : command_(std::move(command)), socket_(std::move(socket)) {
        start();
    }
    void start() {
        std::filesystem::remove(socket_);
        process_ = std::make_unique<Process>(command_, Seconds(600));
        for (int nap = 0; nap < 1000 && !std::filesystem::exists(socket_); ++nap) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
    void kill() {
        process_->send_signal(SIGKILL);
        process_->wait();
    }
    [[nodiscard]] std::string uri() const { return "nbd+unix:///?socket=" + socket_; }

private:
    std::vector<std::string> command_;
    std::string socket_;
    std::unique_ptr<Process> process_;
};

class ExportedNetworkImage : public testing::Test {
protected:
    NbdServer nbdkit(const std::vector<std::string>& plugin) {
        std::vector<std::string> command{"nbdkit", "--foreground", "--unix", socket_};
        command.insert(command.end(), plugin.begin(), plugin.end());
        return {command, socket_};
    }
    static std::vector<std::string> verified_io(const ExportedDisk& disk) {
        return {"fio",          "--direct=1",      "--ioengine=libaio",
                "--iodepth=16", "--rw=randrw",     "--bsrange=512-64k",
                "--size=8M",    "--verify=crc32c", "--verify_fatal=1",
                "--minimal",    "--name=a",        "--filename=" + disk.node()};
    }
    static void expect_gone(ExportedDisk& disk) {
        const Outcome stopped = disk.stop();
        EXPECT_EQ(stopped.status, 0) << stopped.err;
        EXPECT_EQ(disk.wait().status, 0);
    }

    TemporaryDirectory directory_;
    std::string socket_ = directory_.path("nbd");
};

TEST_F(ExportedNetworkImage, OfQcow2IsADiskOfThisHostAndOfAMachine) {
    const std::string image = make_image(directory_, "qcow2", 64);
    const NbdServer server(
        {"qemu-nbd", "--persistent", "--shared=8", "--format=qcow2", "--socket", socket_, image},
        socket_);
    ExportedDisk disk("net0", server.uri(), {"--attach", "virtio"});
    const Outcome filled =
        run({"bash", "-euc",
             "modprobe ext4; mke2fs -q -t ext4 " + disk.node() + "; e2fsck -f -n " + disk.node()});
    EXPECT_EQ(filled.status, 0) << filled.out << filled.err;
    const Outcome verified = run(verified_io(disk), Seconds(120));
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    EXPECT_EQ(run({VIADUCT_CTL, "devices", "bind", "net0", "vhost"}).status, 0);
    const std::string node =
        run({"bash", "-c", "echo /dev/$(cd /sys/bus/vdpa/devices/net0; ls -d vhost-vdpa-*)"}).out;
    for (const char* scenario : {"read-write", "flush", "discard", "write-zeroes"}) {
        const Outcome machine =
            run({viaduct_program(), "run", "--kernel", probe_image(), "--append",
                 std::string("scenario=") + scenario + " timeout=60", "--memory", "64M",
                 "--debug-exit", "--device", "vdpa,path=" + node.substr(0, node.find('\n'))},
                Seconds(180));
        EXPECT_EQ(machine.status, probe_passed) << scenario << machine.out << machine.err;
    }
    expect_gone(disk);
}

TEST_F(ExportedNetworkImage, SurvivesItsServersDeathAndItsOwn) {
    auto server = nbdkit({"file", make_image(directory_, "raw", 32)});
    ExportedDisk disk("net0", server.uri(), {"--attach", "virtio"});
    for (unsigned round = 0; round < repeated(2); ++round) {
        Process load(verified_io(disk), Seconds(180));
        std::this_thread::sleep_for(std::chrono::milliseconds(700));
        server.kill();
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        EXPECT_TRUE(load.running()) << "it was done before the kill";
        server.start();
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        disk.kill();
        disk.start();
        const Outcome outcome = load.wait();
        EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    }
    expect_gone(disk);
}

TEST_F(ExportedNetworkImage, PassesTheServersErrorsOn) {
    const std::string trigger = directory_.path("trigger");
    auto server =
        nbdkit({"--filter=error", "memory", "32M", "error-rate=100%", "error-file=" + trigger});
    ExportedDisk disk("net0", server.uri(), {"--attach", "virtio"});
    // The kernel's patience goes beyond the one with the server, which is 30 s.
    EXPECT_EQ(run({"cat", "/sys/class/vduse/net0/msg_timeout"}).out, "60\n");
    const std::vector<std::string> read{"dd",      "if=" + disk.node(), "of=/dev/null", "bs=4k",
                                        "count=1", "iflag=direct",      "skip=5"};
    EXPECT_EQ(run(read).status, 0);
    EXPECT_EQ(run({"touch", trigger}).status, 0);
    EXPECT_NE(run(read).status, 0);
    std::filesystem::remove(trigger);
    EXPECT_EQ(run(read).status, 0);
    EXPECT_TRUE(disk.lives());
    EXPECT_THAT(disk.log(), HasSubstr("read"));
    expect_gone(disk);
}

TEST_F(ExportedNetworkImage, OfAServerThatIsNotThereIsRefused) {
    const Outcome refused = run(
        {export_program(), "run", "--name", "net0", "--image", "nbd+unix:///?socket=" + socket_});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr(socket_));
    EXPECT_FALSE(std::filesystem::exists("/dev/vduse/net0"));
}

}  // namespace
}  // namespace viaduct::test
