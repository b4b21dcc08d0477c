// The vDPA bus out of sysfs, who uses a device, and giving it to another driver.
#include <filesystem>

#include <fmt/core.h>
#include <gmock/gmock.h>

#include "base/error.hpp"
#include "tests/unit/management_world.hpp"
#include "vdpa/management/vdpa_bus.hpp"

namespace viaduct::management {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

class VdpaBusTest : public testing::Test {
protected:
    /// Gives the disk's node the number of one that every machine has.
    void make_the_node_dev_null() const {
        host_.put("f sys/bus/vdpa/devices/disk/vhost-vdpa-0/dev 1:3");
    }
    [[nodiscard]] Roots roots() const { return host_.roots(); }

    HostDirectories host_;
    VdpaBus bus_{host_.roots()};
};

TEST_F(VdpaBusTest, ListsDevicesWithTheirDrivers) {
    EXPECT_TRUE(bus_.exists());
    EXPECT_THAT(bus_.devices(), ElementsAre("card", "disk", "local"));
    EXPECT_EQ(bus_.driver("disk"), "vhost_vdpa");
    EXPECT_EQ(bus_.driver("local"), "virtio_vdpa");
    EXPECT_TRUE(bus_.has_driver(Driver::vhost));
    EXPECT_TRUE(bus_.has_driver(Driver::virtio));
    EXPECT_FALSE(VdpaBus({.sys = host_.path("nowhere")}).exists());
    EXPECT_THAT(VdpaBus({.sys = host_.path("nowhere")}).devices(), IsEmpty());
}

TEST_F(VdpaBusTest, AnOverrideThatIsNotSetIsNone) {
    EXPECT_EQ(bus_.driver_override("disk"), std::nullopt);
    EXPECT_EQ(bus_.driver_override("local"), "virtio_vdpa");
}

TEST_F(VdpaBusTest, KnowsTheNodeOfEachKindOfDevice) {
    const auto vhost = bus_.node("disk");
    ASSERT_TRUE(vhost);
    EXPECT_EQ(vhost->kind, DeviceNode::Kind::vhost);
    EXPECT_EQ(vhost->name, roots().dev / "vhost-vdpa-0");
    ASSERT_EQ(vhost->numbers.size(), 1U);
    EXPECT_EQ(vhost->numbers[0].kind, NodeNumber::Kind::character);
    const auto disk = bus_.node("local");
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->kind, DeviceNode::Kind::block);
    EXPECT_THAT(disk->name, HasSubstr("/dev/vd"));
    const auto card = bus_.node("card");
    ASSERT_TRUE(card);
    EXPECT_EQ(card->kind, DeviceNode::Kind::network);
    EXPECT_THAT(card->name, HasSubstr("eth"));
}

TEST_F(VdpaBusTest, AVirtioDeviceWhoseDriverIsNotDoneHasNoNodeYet) {
    host_.put(
        "d sys/bus/vdpa/devices/fresh/virtio9\n"
        "f sys/bus/vdpa/devices/fresh/virtio9/device 0x0002");
    EXPECT_EQ(bus_.node("fresh")->kind, DeviceNode::Kind::other);
    EXPECT_THAT([&] { (void)bus_.wait_for_node("fresh", milliseconds(1)); },
                ThrowsMessage<Error>(AllOf(HasSubstr("'fresh'"), HasSubstr("virtio9"),
                                           HasSubstr("modprobe virtio_blk"))));
    // An input device's driver makes what it likes.
    host_.put(
        "d sys/bus/vdpa/devices/keys/virtio10\n"
        "f sys/bus/vdpa/devices/keys/virtio10/device 0x0012");
    EXPECT_EQ(bus_.wait_for_node("keys", milliseconds(0)).name, "virtio10");
}

TEST_F(VdpaBusTest, WaitsUntilTheNodeIsInDev) {
    EXPECT_THAT([&] { (void)bus_.wait_for_node("disk", milliseconds(1)); },
                ThrowsMessage<Error>(AllOf(HasSubstr("no node after 1 ms"), HasSubstr("udev"))));
    host_.put("f dev/vhost-vdpa-0");
    EXPECT_EQ(bus_.wait_for_node("disk", milliseconds(0)).name, roots().dev / "vhost-vdpa-0");
}

TEST_F(VdpaBusTest, ADeviceThatDoesNotExistIsAnError) {
    for (const char* name : {"nothing", "", "..", "disk/..", "/etc"}) {
        EXPECT_THAT([&] { (void)bus_.driver(name); },
                    ThrowsMessage<Error>(HasSubstr("no vDPA device")))
            << name;
    }
}

TEST_F(VdpaBusTest, BindsByOverrideUnbindAndBind) {
    bus_.bind("disk", Driver::virtio);
    EXPECT_EQ(host_.read("sys/bus/vdpa/devices/disk/driver_override"), "virtio_vdpa");
    EXPECT_EQ(host_.read("sys/bus/vdpa/drivers/vhost_vdpa/unbind"), "disk");
    EXPECT_EQ(host_.read("sys/bus/vdpa/drivers/virtio_vdpa/bind"), "disk");
}

TEST_F(VdpaBusTest, WhereItIsBoundAlreadyNothingIsWritten) {
    bus_.bind("disk", Driver::vhost);
    EXPECT_EQ(host_.read("sys/bus/vdpa/drivers/vhost_vdpa/bind"), "");
    EXPECT_EQ(bus_.driver_override("disk"), std::nullopt);
}

TEST_F(VdpaBusTest, ADriverThatIsNotLoadedIsAnError) {
    std::filesystem::remove_all(host_.path("sys/bus/vdpa/drivers/virtio_vdpa"));
    EXPECT_THAT([&] { bus_.bind("disk", Driver::virtio); },
                ThrowsMessage<Error>(HasSubstr("modprobe virtio_vdpa")));
}

TEST_F(VdpaBusTest, WhatFailsIsTakenBack) {
    std::filesystem::remove(host_.path("sys/bus/vdpa/drivers/virtio_vdpa/bind"));
    EXPECT_THROW(bus_.bind("disk", Driver::virtio), SystemError);
    EXPECT_EQ(host_.read("sys/bus/vdpa/drivers/vhost_vdpa/bind"), "disk") << "its driver again";
}

TEST_F(VdpaBusTest, ADeviceInUseStaysWhereItIs) {
    make_the_node_dev_null();
    host_.put_process(4711, "viaduct", "/dev/null");
    EXPECT_THAT([&] { bus_.bind("disk", Driver::virtio); },
                ThrowsMessage<Error>(AllOf(HasSubstr("before you bind it to virtio_vdpa"),
                                           HasSubstr("vhost-vdpa-0"),
                                           HasSubstr("in use by viaduct (pid 4711)"))));
    EXPECT_EQ(host_.read("sys/bus/vdpa/drivers/vhost_vdpa/unbind"), "");
    EXPECT_EQ(bus_.driver_override("disk"), std::nullopt);
}

TEST_F(VdpaBusTest, KnowsWhoHasANodeOpen) {
    make_the_node_dev_null();
    host_.put_process(20, "other", "/dev/zero");
    EXPECT_THAT(bus_.users("disk").users, IsEmpty());
    host_.put_process(30, "viaduct", "/dev/null");
    host_.put_process(4, "a b", "/dev/null");
    host_.put("d proc/self\nf proc/uptime 1");
    const DeviceUsers found = bus_.users("disk");
    EXPECT_EQ(text_of(found.users), "a b (pid 4), viaduct (pid 30)");
    EXPECT_TRUE(found.complete);
}

TEST_F(VdpaBusTest, AFileOfTheSameNameIsNotTheNode) {
    make_the_node_dev_null();
    host_.put("f elsewhere/vhost-vdpa-0 text");
    host_.put_process(20, "editor", host_.path("elsewhere/vhost-vdpa-0"));
    EXPECT_THAT(bus_.users("disk").users, IsEmpty());
}

TEST_F(VdpaBusTest, ADiskIsUsedThroughMountsAndHoldersOfItAndItsPartitions) {
    const auto disk = bus_.node("local");
    ASSERT_EQ(disk->numbers.size(), 1U);
    const std::string number = fmt::format("{}:{}", disk->numbers[0].major, disk->numbers[0].minor);
    const std::string name = std::filesystem::path(disk->name).filename();
    const auto virtio = names_in(host_.path("sys/bus/vdpa/devices/local"), "virtio");
    ASSERT_EQ(virtio.size(), 1U);
    host_.put(
        fmt::format("f sys/bus/vdpa/devices/local/{0}/block/{1}/{1}1/dev 252:33\n"
                    "f proc/self/mountinfo 36 35 252:33 / /mnt/data rw - ext4 /dev/x rw\n"
                    "d sys/dev/block/{2}/holders/dm-0",
                    virtio.front(), name, number));
    EXPECT_EQ(text_of(bus_.users("local").users), "dm-0, mounted on /mnt/data");
    EXPECT_THAT([&] { bus_.refuse_when_in_use("local", "remove it"); },
                ThrowsMessage<Error>(HasSubstr("end that before you remove it")));
}

TEST_F(VdpaBusTest, ADiskIsUsedThroughTheMountsOfEveryNamespace) {
    const auto disk = bus_.node("local");
    ASSERT_TRUE(disk);
    const std::string number = fmt::format("{}:{}", disk->numbers[0].major, disk->numbers[0].minor);
    const auto put = [&](const std::string& process, int name_space, const std::string& where) {
        host_.put(fmt::format("f proc/{0}/comm p{0}\nl proc/{0}/ns/mnt mnt:[{1}]\n", process,
                              name_space));
        if (where.empty()) return;
        host_.put(fmt::format("f proc/{}/mountinfo 36 35 {} / {} rw - ext4 /dev/x rw\n", process,
                              number, where));
    };
    put("self", 1, "/mnt/data");
    put("20", 1, "/not/looked/at");
    put("30", 2, "/srv");
    put("31", 2, "/srv/again");
    put("40", 3, "");  // ends while it is looked at
    put("41", 3, "/var");
    put("50", 4, "/mnt/data");
    EXPECT_EQ(text_of(bus_.users("local").users),
              "mounted on /mnt/data, mounted on /srv for p30 (pid 30), mounted on /var for p41 "
              "(pid 41)");
}

}  // namespace
}  // namespace viaduct::management
