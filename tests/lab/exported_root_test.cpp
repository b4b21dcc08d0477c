// A disk that is this host's first, filled from a mount of its own, and a machine's root file
// system afterwards.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/support/nbd_server.hpp"

namespace viaduct::test {
namespace {

const std::string guest_images = VIADUCT_SOURCE_DIR "/guest-images/linux/";
const std::string kernel = VIADUCT_SOURCE_DIR "/build/guest-images/linux/vmlinux";

std::string make_executable(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms(0755));
    return path;
}

class ExportedRoot : public testing::Test {
protected:
    /// A file system of busybox and an init that leaves a mark and ends the machine. Made from a
    /// mount name space of its own, as a container's would be.
    void fill(const std::string& node) const {
        const std::string root = directory_.path("root");
        const Outcome filled = run(
            {"unshare", "--mount", "bash", "-euc",
             "modprobe ext4; mke2fs -q -t ext4 " + node + "; mkdir " + root + "; mount " + node +
                 " " + root + "; cd " + root +
                 "; mkdir bin dev proc; cp /bin/busybox bin; printf '%s\\n' '#!/bin/busybox sh' "
                 "'busybox mount -t proc proc /proc' 'busybox mount -t devtmpfs dev /dev' "
                 "'echo root is on $(busybox grep \" / ext4\" /proc/mounts)' "
                 "'echo it was here >/was' 'busybox sync' 'busybox poweroff -f' >init; "
                 "chmod +x init; cd /; umount " +
                 root});
        ASSERT_EQ(filled.status, 0) << filled.err;
    }
    void boot_from(const ExportedDisk& disk) const {
        const std::string init = make_executable(directory_.path("init"),
                                                 "#!/bin/busybox sh\n"
                                                 "mount -t devtmpfs dev /dev\n"
                                                 "for m in /modules/*.ko; do insmod $m; done\n"
                                                 "mount -t ext4 /dev/vda /mnt\n"
                                                 "exec switch_root /mnt /init\n");
        const std::string initrd = directory_.path("initrd");
        const Outcome packed = run({guest_images + "with-script", init, initrd, init});
        ASSERT_EQ(packed.status, 0) << packed.err;
        const Outcome machine =
            run({viaduct_program(), "run", "--kernel", kernel, "--initrd", initrd, "--append",
                 guest_command_line, "--memory", "256M", "--device", disk.option()},
                Seconds(180));
        EXPECT_EQ(machine.status, 0) << machine.out << machine.err;
        EXPECT_THAT(machine.out, testing::HasSubstr("root is on /dev/vda"));
    }
    void expect_filled_here_and_booted_from(const std::string& image) const {
        ExportedDisk disk("root0", image, {"--attach", "virtio"});
        fill(disk.node());
        disk.bind_to_vhost();
        boot_from(disk);
        EXPECT_EQ(disk.stop().status, 0);
    }
    static void expect_marked(const std::string& raw) {
        EXPECT_EQ(run({"debugfs", "-R", "cat /was", raw}).out, "it was here\n");
    }

    TemporaryDirectory directory_;
};

TEST_F(ExportedRoot, OfARawImage) {
    const std::string image = make_image(directory_, "raw", 64);
    expect_filled_here_and_booted_from(image);
    expect_marked(image);
}

TEST_F(ExportedRoot, OfAQcow2ImageOfAnNbdServer) {
    const std::string image = make_image(directory_, "qcow2", 64);
    NbdServer server(NbdServer::Kind::qemu,
                     {"--persistent", "--shared=8", "--format=qcow2", image});
    expect_filled_here_and_booted_from(server.uri());
    server.kill();
    const std::string raw = directory_.path("disk.raw");
    const Outcome converted = run({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw});
    EXPECT_EQ(converted.status, 0) << converted.err;
    expect_marked(raw);
}

}  // namespace
}  // namespace viaduct::test
