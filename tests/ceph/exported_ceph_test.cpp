// A disk of the lab's host whose image is in a Ceph cluster, and whose daemon is killed under load.
#include <chrono>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "tests/ceph/ceph_cluster.hpp"
#include "tests/lab/exported_disk.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

Outcome shell(const std::string& command) {
    return run({"bash", "-euc", command}, Seconds(120));
}

TEST(ExportedCephImage, HoldsAFileSystemAndOutlivesItsDaemon) {
    const CephCluster cluster;
    cluster.rbd({"create", "disk", "--size", "64"});
    ExportedDisk disk("ceph0", cluster.image("disk"), {"--attach", "virtio", "--queues", "2"});
    // Caches that wait for a first flush would be on from here.
    EXPECT_EQ(shell("dd if=/dev/zero of=" + disk.node() + " count=1 conv=fsync status=none").status,
              0);
    const Outcome verified = run(disk.verified_io(4), Seconds(120));
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    for (unsigned round = 0; round < repeated(2); ++round) {
        Process load(disk.verified_io(8), Seconds(180));
        std::this_thread::sleep_for(std::chrono::milliseconds(700));
        disk.kill();
        EXPECT_TRUE(load.running()) << "it was done before the kill";
        // Its writes wait until the cluster has given the dead daemon's lock up.
        disk.start();
        const Outcome outcome = load.wait();
        EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    }
    const Outcome filled = shell("modprobe ext4; mke2fs -q -t ext4 " + disk.node() + "; mount " +
                                 disk.node() + " /mnt; echo it was here >/mnt/was; umount /mnt");
    EXPECT_EQ(filled.status, 0) << filled.out << filled.err;
    EXPECT_EQ(disk.stop().status, 0);
    EXPECT_EQ(disk.wait().status, 0);
    const TemporaryDirectory directory;
    const std::string exported = directory.path("exported");
    cluster.rbd({"export", "disk", exported});
    const Outcome checked = shell("e2fsck -f -n " + exported);
    EXPECT_EQ(checked.status, 0) << checked.out << checked.err;
    EXPECT_EQ(run({"debugfs", "-R", "cat /was", exported}).out, "it was here\n");
}

}  // namespace
}  // namespace viaduct::test
