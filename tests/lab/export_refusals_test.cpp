// What viaduct-export refuses to do, and how it says so.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/export_fixture.hpp"
#include "tests/lab/lab_device.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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
                   AllOf(HasSubstr("another process has locked it"), HasSubstr("--read-only")));
    expect_refusal({"--name", "a/b", "--image", other},
                   HasSubstr("'a/b' cannot be a device's name"), {}, 2);
    expect_refusal({"--name", "control", "--image", other}, HasSubstr("cannot be a device's name"),
                   {}, 2);
    disk.kill();
    expect_refusal({"--name", "disk0", "--image", other}, HasSubstr("the same command"));
    disk.start();
    expect_gone(disk);
}

TEST_F(ExportRefusals, AnotherImageOfTheSameName) {
    const TemporaryDirectory elsewhere;
    make_image(elsewhere, "raw", 1);
    const std::string path = image(1);
    ExportedDisk disk("disk0", path);
    disk.kill();
    expect_refusal({"--name", "disk0", "--image", "disk.raw"}, HasSubstr("another image"),
                   {"env", "--chdir=" + elsewhere.path("")});
    // And the same by another name.
    std::filesystem::create_symlink(path, elsewhere.path("link"));
    ExportedDisk next("disk0", elsewhere.path("link"));
    expect_gone(next);
}

TEST_F(ExportRefusals, OptionsThatMakeNoSense) {
    const std::string path = image(1);
    expect_refusal({"--name", "other", "--image", path, "--queue-size", "100"},
                   HasSubstr("power of two"), {}, 2);
    expect_refusal({"--name", "other", "--image", path, "--queues", "0"}, HasSubstr("1 to 64"), {},
                   2);
    expect_refusal({"--name", "other", "--image", path, "--queues", "1000000000"},
                   HasSubstr("1 to 64"), {}, 2);
    expect_refusal({"--name", "other", "--image", path, "--block-size", "1000"},
                   HasSubstr("512 or 4096"), {}, 2);
    expect_refusal(
        {"--name", "other", "--image", path, "--serial", "a serial number that is too long"},
        HasSubstr("at most 20 fit"), {}, 2);
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

TEST_F(ExportRefusals, ANameThatADeviceOfAnotherParentHas) {
    const LabDevice simulated = LabDevice::simulated_disk("taken");
    expect_refusal({"--name", "taken", "--image", image(1)},
                   AllOf(HasSubstr("vdpasim_blk"), HasSubstr("choose another name")));
    EXPECT_TRUE(is_on_the_bus("taken"));
    EXPECT_FALSE(std::filesystem::exists("/dev/vduse/taken"));
    EXPECT_FALSE(std::filesystem::exists("/run/viaduct/taken"));
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
