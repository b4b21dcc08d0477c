// One stock guest, booted from its bzImage, with four vCPUs and a device of every kind at once. The
// guest is booted once; the tests follow one another in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <set>

#include <boost/json/serialize.hpp>

#include "tests/lab/lab_device.hpp"
#include "tests/lab/linux_guest.hpp"
#include "tests/lab/silence.hpp"
#include "tests/lab/vmm_observation.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;

std::string make_image(const TemporaryDirectory& directory, const std::string& format,
                       const std::string& size) {
    const std::string path = directory.path("disk." + format);
    const Outcome made = run({"qemu-img", "create", "-q", "-f", format, path, size});
    if (made.status != 0) throw Error("qemu-img: {}", made.err);
    return path;
}

struct World {
    TemporaryDirectory directory;
    std::string raw_image = make_image(directory, "raw", "64M");
    std::string qcow2_image = make_image(directory, "qcow2", "96M");
    LabDevice raw = LabDevice::vduse("raw", raw_image);
    LabDevice qcow2 = LabDevice::vduse("qcow2", qcow2_image, {"--queues", "2", "--queue-size", "1024"});
    LabDevice simulated = LabDevice::simulated_disk("simulated");
    LabDevice hardware = LabDevice::hardware("hardware", "disk1");
    LabDevice net = LabDevice::simulated_net("net");
    LinuxGuest guest{{.kernel = "vmlinuz",
                      .append = "",
                      .memory = "512M",
                      .cpus = 4,
                      .devices = {raw.option(), qcow2.option(), simulated.option(),
                                  hardware.option(), net.option()}}};
};

class EveryDeviceAtOnce : public testing::Test {
protected:
    static void SetUpTestSuite() { world_ = std::make_unique<World>(); }
    static void TearDownTestSuite() { world_.reset(); }
    void SetUp() override { ASSERT_NE(world_, nullptr) << "the guest did not boot"; }

    static World& world() { return *world_; }
    static LinuxGuest& guest() { return world_->guest; }

    static std::string expect_success(const std::string& command) {
        const Answer answer = guest().sh(command);
        EXPECT_EQ(answer.status, 0) << command << '\n' << answer.out;
        return answer.out;
    }

private:
    static inline std::unique_ptr<World> world_;
};

TEST_F(EveryDeviceAtOnce, TheGuestFindsEachWithItsSizeAndItsQueues) {
    EXPECT_EQ(expect_success("for d in vda vdb vdc vdd; do echo $d $(($(cat /sys/block/$d/size) / "
                             "2048)) $(ls /sys/block/$d/mq | wc -l); done"),
              "vda 64 1\nvdb 96 2\nvdc 128 1\nvdd 64 2");
    EXPECT_EQ(expect_success("nproc; cat /sys/class/net/eth0/device/device"), "4\n0x0001");
}

TEST_F(EveryDeviceAtOnce, FioVerifiesRandomReadsAndWritesOnEveryDisk) {
    expect_success(
        "fio --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bsrange=512-64k --size=4M "
        "--verify=crc32c --verify_fatal=1 --minimal --name=a --filename=/dev/vda --name=b "
        "--filename=/dev/vdb --name=c --filename=/dev/vdc --name=d --filename=/dev/vdd");
}

}  // namespace
}  // namespace viaduct::test
