// A machine on a disk that viaduct-export serves, whose daemon is killed under load and comes back.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/exported_disk.hpp"
#include "tests/lab/in_one_world.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

/// vda in the guest.
struct World {
    TemporaryDirectory directory;
    std::string image = make_image(directory, "raw", 64);
    ExportedDisk disk{"disk0", image, {"--queues", "2"}};
    LinuxGuest guest{{.kernel = "vmlinux",
                      .append = "",
                      .memory = "256M",
                      .cpus = 2,
                      .devices = {disk.option()}}};
};

class ExportedGuest : public InOneWorld<World> {
protected:
    static LinuxGuest& guest() { return world().guest; }
    static std::string in_guest(const std::string& command) { return guest().expect(command); }
    static void set(const std::string& mode) {
        guest().qmp().execute("vdpa-set-datapath", {{"id", "disk0"}, {"mode", mode}},
                              std::chrono::seconds(60));
    }
    static void begin_load() {
        in_guest(
            "dmesg -c >/dev/null; rm -f /tmp/ended; (fio --direct=1 --ioengine=libaio "
            "--iodepth=16 --rw=randrw --bsrange=512-64k --size=6M --verify=crc32c "
            "--verify_fatal=1 --minimal --name=a --filename=/dev/vda; echo $? >/tmp/ended) "
            ">/tmp/load 2>&1 &");
        in_guest("until [ $(awk '{print $9}' /sys/block/vda/stat) -gt 0 ]; do :; done");
    }
    static void expect_load_succeeds() {
        EXPECT_EQ(in_guest("until [ -s /tmp/ended ]; do sleep 0.1; done; cat /tmp/ended"), "0")
            << in_guest("cat /tmp/load");
        EXPECT_EQ(in_guest("dmesg | grep -E 'WARNING|BUG|I/O error|blocked for more' || true"), "");
    }
};

TEST_F(ExportedGuest, GoesOnAfterAKillOfTheDaemonOnBothPaths) {
    for (unsigned round = 0; round < repeated(5); ++round) {
        for (const char* mode : {"fast", "slow"}) {
            set(mode);
            begin_load();
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            world().disk.kill();
            EXPECT_EQ(in_guest("cat /tmp/ended 2>/dev/null || true"), "") << "it was done too soon";
            world().disk.start();
            expect_load_succeeds();
        }
    }
}

TEST_F(ExportedGuest, SwitchesUnderLoad) {
    begin_load();
    for (unsigned turn = 0; turn < repeated(10); ++turn) {
        set(turn % 2 == 0 ? "fast" : "slow");
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    expect_load_succeeds();
    EXPECT_THAT(world().disk.log(), testing::Not(testing::HasSubstr("error")));
}

TEST_F(ExportedGuest, SeesItsDiskGrow) {
    std::filesystem::resize_file(world().image, std::uintmax_t{80} << 20);
    EXPECT_EQ(run({export_program(), "resize", "disk0"}).status, 0);
    EXPECT_EQ(in_guest("for i in $(seq 50); do [ $(cat /sys/block/vda/size) = 163840 ] && break; "
                       "sleep 0.1; done; cat /sys/block/vda/size"),
              "163840");
    in_guest("dd if=/dev/zero of=/dev/vda bs=1M seek=79 count=1 oflag=direct 2>/dev/null");
}

TEST_F(ExportedGuest, IsAnsweredWithAnErrorWhereItsImageHasBecomeShort) {
    std::filesystem::resize_file(world().image, std::uintmax_t{16} << 20);
    EXPECT_NE(guest().sh("dd if=/dev/vda of=/dev/null bs=1M skip=20 count=1 iflag=direct").status,
              0);
    in_guest("dd if=/dev/vda of=/dev/null bs=1M skip=2 count=1 iflag=direct 2>/dev/null");
    EXPECT_TRUE(world().disk.lives());
    std::filesystem::resize_file(world().image, std::uintmax_t{80} << 20);
    in_guest("dd if=/dev/vda of=/dev/null bs=1M skip=20 count=1 iflag=direct 2>/dev/null");
}

TEST_F(ExportedGuest, LeavesTheDiskToTheNextMachine) {
    guest().qmp().execute("quit");
    EXPECT_EQ(guest().wait().status, 0);
    const Outcome stopped = world().disk.stop();
    EXPECT_EQ(stopped.status, 0) << stopped.err;
}

}  // namespace
}  // namespace viaduct::test
