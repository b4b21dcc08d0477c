// Disks whose images are across a network: of servers that are killed under load and come back, or
// answer with errors.
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/support/nbd_server.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;

class ExportedNetworkImage : public testing::Test {
protected:
    /// A disk that a test left is not the next one's.
    void TearDown() override { (void)run({export_program(), "stop", "net0"}, Seconds(90)); }
    static void expect_gone(ExportedDisk& disk) {
        const Outcome stopped = disk.stop();
        EXPECT_EQ(stopped.status, 0) << stopped.err;
        EXPECT_EQ(disk.wait().status, 0);
    }

    TemporaryDirectory directory_;
};

TEST_F(ExportedNetworkImage, OfQcow2IsADiskOfThisHostAndOfAMachine) {
    const std::string image = make_image(directory_, "qcow2", 64);
    const NbdServer server(NbdServer::Kind::qemu,
                           {"--persistent", "--shared=8", "--format=qcow2", image});
    ExportedDisk disk("net0", server.uri(), {"--attach", "virtio"});
    const Outcome filled =
        run({"bash", "-euc",
             "modprobe ext4; mke2fs -q -t ext4 " + disk.node() + "; e2fsck -f -n " + disk.node()});
    EXPECT_EQ(filled.status, 0) << filled.out << filled.err;
    const Outcome verified = run(disk.verified_io(8), Seconds(120));
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    disk.bind_to_vhost();
    for (const char* scenario : {"read-write", "flush", "discard", "write-zeroes"}) {
        const Outcome machine =
            run({viaduct_program(), "run", "--kernel", probe_image(), "--append",
                 std::string("scenario=") + scenario + " timeout=60", "--memory", "64M",
                 "--debug-exit", "--device", disk.option()},
                Seconds(180));
        EXPECT_EQ(machine.status, probe_passed) << scenario << machine.out << machine.err;
    }
    expect_gone(disk);
}

TEST_F(ExportedNetworkImage, SurvivesItsServersDeathAndItsOwn) {
    // Not nbdkit: the one of Debian 12 may fail an assertion when its client is killed.
    NbdServer server(NbdServer::Kind::qemu, {"--persistent", "--shared=8", "--format=raw",
                                             make_image(directory_, "raw", 32)});
    ExportedDisk disk("net0", server.uri(), {"--attach", "virtio"});
    for (unsigned round = 0; round < repeated(2); ++round) {
        Process load(disk.verified_io(8), Seconds(180));
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
    const NbdServer server =
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
    const std::string socket = directory_.path("nobody");
    const Outcome refused = run(
        {export_program(), "run", "--name", "net0", "--image", "nbd+unix:///?socket=" + socket});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr(socket));
    EXPECT_FALSE(std::filesystem::exists("/dev/vduse/net0"));
}

}  // namespace
}  // namespace viaduct::test
