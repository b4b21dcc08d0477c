// What the operator asks for and cannot have, with real devices: one line that says what to do, and
// exit status 1.
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/lab_device.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Refusals : public testing::Test {
protected:
    struct Attempt {
        std::vector<std::string> devices;   // values of --device
        std::vector<std::string> prefix{};  // a command that runs viaduct
        std::string scenario = "hello";
    };

    static std::vector<std::string> command_of(const Attempt& attempt) {
        std::vector<std::string> command = attempt.prefix;
        command.insert(command.end(),
                       {viaduct_program(), "run", "--debug-exit", "--kernel", probe_image(),
                        "--append", "scenario=" + attempt.scenario, "--memory", "64M"});
        for (const std::string& device : attempt.devices) {
            command.insert(command.end(), {"--device", device});
        }
        return command;
    }

    static void expect_refusal(const Attempt& attempt,
                               const testing::Matcher<const std::string&>& message) {
        const Outcome outcome = run(command_of(attempt));
        EXPECT_EQ(outcome.status, 1);
        EXPECT_EQ(outcome.out, "");
        EXPECT_THAT(outcome.err, AllOf(StartsWith("viaduct: "), message));
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    }

    TemporaryDirectory directory_;
};

TEST_F(Refusals, ADeviceThatIsAlreadyOpen) {
    const auto disk = LabDevice::simulated_disk("disk");
    const Process first(command_of({.devices = {disk.option()}, .scenario = "spin"}), Seconds(300));
    ASSERT_TRUE(first.wait_for_output("tick 1", Seconds(120))) << first.out() << first.err();
    expect_refusal({.devices = {disk.option()}},
                   AllOf(HasSubstr(disk.path() + " is in use by another process"),
                         HasSubstr("fuser " + disk.path())));
    EXPECT_TRUE(first.running());
}

TEST_F(Refusals, ADeviceThatIsMissing) {
    expect_refusal(
        {.devices = {"vdpa,path=/dev/vhost-vdpa-77"}},
        AllOf(HasSubstr("/dev/vhost-vdpa-77 does not exist"), HasSubstr("vdpa dev add")));
}

TEST_F(Refusals, ADeviceThatIsUnreadable) {
    const auto disk = LabDevice::simulated_disk("disk");
    ASSERT_EQ(::chmod("/dev/kvm", 0666), 0);
    expect_refusal(
        {.devices = {disk.option()},
         .prefix = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}},
        AllOf(HasSubstr(disk.path() + " may not be opened by this user"), HasSubstr("chmod g+rw")));
}

TEST_F(Refusals, ACharacterDeviceThatIsNoVdpaDevice) {
    expect_refusal(
        {.devices = {"vdpa,path=/dev/null"}},
        AllOf(HasSubstr("/dev/null is not a vDPA device"), HasSubstr("/dev/vhost-vdpa-")));
}

TEST_F(Refusals, AFileInTheDevicesPlace) {
    const std::string image = make_image(directory_, "raw", 1);
    expect_refusal({.devices = {"vdpa,path=" + image}},
                   AllOf(HasSubstr(image + " is not a vDPA device"), HasSubstr("image=" + image)));
}

TEST_F(Refusals, QueueSizesThatTheDeviceDoesNotHave) {
    const auto disk = LabDevice::vduse("disk", make_image(directory_, "raw", 1));
    expect_refusal({.devices = {disk.option("queue-size=100")}},
                   AllOf(HasSubstr("queue-size=100"), HasSubstr("not a power of two"),
                         HasSubstr("64 or 128")));
    expect_refusal({.devices = {disk.option("queue-size=512")}},
                   AllOf(HasSubstr("queue-size=512"), HasSubstr("over the 256 entries"),
                         HasSubstr("use 256 or less")));
    EXPECT_TRUE(disk.daemon_lives());
}

TEST_F(Refusals, ADataPathThatTheDeviceDoesNotHave) {
    const auto disk = LabDevice::hardware("disk", "disk0");
    expect_refusal({.devices = {disk.option("datapath=auto")}},
                   AllOf(HasSubstr("'disk' cannot change its data path"),
                         HasSubstr("VHOST_SET_VRING_BASE"), HasSubstr("datapath=fast-only")));
}

TEST_F(Refusals, TooLittleMemoryThatMayBeLocked) {
    limit_iotlb_entries(1'000'000);
    const auto disk = LabDevice::hardware("disk", "disk0");
    const auto another = LabDevice::hardware("another", "disk1");
    expect_refusal(
        {.devices = {disk.option()}, .prefix = {"prlimit", "--memlock=8388608"}},
        AllOf(HasSubstr(disk.path() + " pins guest memory"), HasSubstr("67108864 bytes are needed"),
              HasSubstr("8388608 bytes"), HasSubstr("ulimit -l 65536")));
    // Enough for one of them.
    expect_refusal({.devices = {disk.option(), another.option()},
                    .prefix = {"prlimit", "--memlock=100000000"}},
                   AllOf(HasSubstr(another.path() + " pins guest memory"),
                         HasSubstr("134217728 bytes are needed"), HasSubstr("100000000 bytes"),
                         HasSubstr("ulimit -l 131072")));
}

TEST_F(Refusals, MemoryInMorePiecesThanTheKernelAllows) {
    limit_iotlb_entries(4);
    const auto disk = LabDevice::hardware("disk", "disk0");
    expect_refusal({.devices = {disk.option()}, .prefix = {"prlimit", "--memlock=unlimited"}},
                   AllOf(HasSubstr(disk.path() + " cannot map 67108864 bytes"),
                         HasSubstr("up to 16384 IOTLB entries"),
                         HasSubstr("max_iotlb_entries of module vhost_vdpa) is 4"),
                         HasSubstr("hugepages=on"), HasSubstr("max_iotlb_entries=1000000")));
}

}  // namespace
}  // namespace viaduct::test
