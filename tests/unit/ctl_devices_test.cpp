// viaductctl devices: what is shown of the host's vDPA devices, what may be typed, and what each
// mistake is told. What it does to a host is in tests/lab/host_devices_test.cpp.
#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "devices/virtio/spec.hpp"
#include "vmm/ctl/command_line.hpp"
#include "vmm/ctl/doctor_text.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/host_device_text.hpp"
#include "vmm/ctl/new_device.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using management::Driver;
using management::Finding;
using management::HostDevice;
using management::ManagementDevice;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::uint64_t net_mac = 1U << 5U;
constexpr std::uint64_t block_flush = 1U << 9U;

HostDevice disk() {
    HostDevice device;
    device.entry = {.name = "disk0",
                    .parent = "vduse",
                    .device_id = 2,
                    .vendor_id = 0,
                    .max_queues = 4,
                    .max_queue_size = 256,
                    .min_queue_size = 1};
    device.config.features = block_flush | virtio::feature::version_1;
    device.config.negotiated_features = virtio::feature::version_1;
    device.config.capacity = 10ULL << 30U;
    device.config.block_size = 512;
    device.config.read_only = true;
    device.driver = "vhost_vdpa";
    device.node = management::DeviceNode{
        .kind = management::DeviceNode::Kind::vhost, .name = "/dev/vhost-vdpa-0", .numbers = {}};
    device.persistent = Driver::vhost;
    device.users.users = {{.pid = 4711, .command = "viaduct"}};
    return device;
}

HostDevice card() {
    HostDevice device;
    device.entry = {.name = "card",
                    .parent = "pci/0000:3b:00.2",
                    .device_id = 1,
                    .vendor_id = 0x15b3,
                    .max_queues = 3,
                    .max_queue_size = 256,
                    .min_queue_size = 1};
    device.config.features = net_mac;
    device.config.mac = management::MacAddress{0x52, 0x54, 0, 0x12, 0x34, 0x56};
    device.config.mtu = 9000;
    device.config.link_up = true;
    return device;
}

/// What the command line is refused with.
std::string refused(std::vector<const char*> words) {
    words.insert(words.begin(), {"viaductctl", "devices"});
    try {
        (void)parse_command_line(static_cast<int>(words.size()), words.data(), "");
    } catch (const UsageError& wrong) {
        return wrong.what();
    }
    return "no refusal";
}

TEST(CtlDevices, AreALineEachAndTheirFeaturesBelow) {
    EXPECT_EQ(host_device_table({card(), disk()}),
              "device  parent            type   bound to    node               queues  "
              "size/MAC           in use by\n"
              "card    pci/0000:3b:00.2  net    -           -                       3  "
              "52:54:00:12:34:56  -\n"
              "disk0   vduse             block  vhost_vdpa  /dev/vhost-vdpa-0       4  "
              "10 GiB             viaduct (pid 4711)\n"
              "\n"
              "device  features\n"
              "card    VIRTIO_NET_F_MAC\n"
              "disk0   VIRTIO_BLK_F_FLUSH VIRTIO_F_VERSION_1\n");
}

TEST(CtlDevices, OneIsShownWithAllThatIsKnownOfIt) {
    EXPECT_EQ(host_device_properties(disk()),
              "name            disk0\n"
              "parent          vduse\n"
              "type            block\n"
              "bound to        vhost_vdpa\n"
              "after a reboot  vhost_vdpa\n"
              "node            /dev/vhost-vdpa-0\n"
              "in use by       viaduct (pid 4711)\n"
              "queues          4\n"
              "queue size      1 to 256 entries\n"
              "capacity        10 GiB (10737418240 bytes)\n"
              "block size      512 B\n"
              "read-only       yes\n"
              "features        VIRTIO_BLK_F_FLUSH VIRTIO_F_VERSION_1\n"
              "of these taken  VIRTIO_F_VERSION_1\n");
    EXPECT_THAT(
        host_device_properties(card()),
        AllOf(HasSubstr("mac             52:54:00:12:34:56\n"), HasSubstr("mtu             9000\n"),
              HasSubstr("link            up\n"), HasSubstr("after a reboot  -\n")));
}

TEST(CtlDevices, WhoMayNotSeeEveryProcessIsToldSo) {
    HostDevice device = card();
    device.users.complete = false;
    EXPECT_THAT(host_device_table({device}), HasSubstr("? (ask as root)"));
    EXPECT_EQ(json_of(device).at("all-users-seen"), false);
}

TEST(CtlDevices, AreObjectsForPrograms) {
    EXPECT_EQ(json::value(json_of(disk())), json::parse(R"({"name": "disk0", "parent": "vduse",
        "device-id": 2, "type": "block", "vendor-id": 0, "queues": 4, "min-queue-size": 1,
        "max-queue-size": 256, "in-use-by": [{"pid": 4711, "command": "viaduct"}],
        "all-users-seen": true, "driver": "vhost_vdpa", "persistent-driver": "vhost_vdpa",
        "node": "/dev/vhost-vdpa-0", "features": ["VIRTIO_BLK_F_FLUSH", "VIRTIO_F_VERSION_1"],
        "negotiated-features": ["VIRTIO_F_VERSION_1"], "capacity": 10737418240,
        "block-size": 512, "read-only": true})"));
    const json::object object = json_of(card());
    EXPECT_EQ(object.at("mac"), "52:54:00:12:34:56");
    EXPECT_FALSE(object.contains("driver"));
    EXPECT_FALSE(object.contains("capacity"));
    HostDevice mounted = disk();
    mounted.users.users = {{.pid = 0, .command = "mounted on /mnt"}};
    EXPECT_EQ(json_of(mounted).at("in-use-by"), json::parse(R"([{"use": "mounted on /mnt"}])"));
}

TEST(CtlDevices, ParentsSayWhatTheyMake) {
    const ManagementDevice parent{.bus = "pci",
                                  .name = "0000:3b:00.2",
                                  .device_types = 1U << 1U,
                                  .features = net_mac,
                                  .max_queues = 65};
    EXPECT_EQ(parent_table({parent}),
              "parent            types  queues  features\n"
              "pci/0000:3b:00.2  net        65  VIRTIO_NET_F_MAC\n");
    EXPECT_EQ(json::value(json_of(parent)),
              json::parse(R"({"name": "pci/0000:3b:00.2", "types": ["net"], "max-queues": 65,
                              "features": ["VIRTIO_NET_F_MAC"]})"));
    // Kernels before 5.17 tell neither.
    EXPECT_THAT(parent_table({{.bus = "", .name = "vduse", .device_types = 6}}),
                HasSubstr("vduse   net block       -  -"));
}

TEST(CtlDevices, NeedNoMachine) {
    const std::vector<const char*> words{"viaductctl", "devices"};
    const auto asked = parse_command_line(2, words.data(), "");
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->address, std::nullopt);
}

TEST(CtlDevices, MistakesAreToldBeforeTheHostIsTouched) {
    EXPECT_THAT(refused({"bnd"}), HasSubstr("did you mean 'devices bind'"));
    EXPECT_THAT(refused({"bind", "x"}),
                AllOf(HasSubstr("DRIVER"), HasSubstr("viaductctl devices bind --help")));
    EXPECT_THAT(refused({"bind", "x", "vfio"}), HasSubstr("{vhost,virtio}"));
    EXPECT_THAT(refused({"bind", "x", "vhost", "now"}),
                HasSubstr("devices bind: 'now' is one word too many"));
    EXPECT_THAT(refused({"bind", "x", "vhost", "--presist"}), HasSubstr("'--persist'"));
    EXPECT_THAT(refused({"add", "x"}), HasSubstr("PARENT"));
    EXPECT_THAT(refused({"add", "x", "vduse", "--persist"}), HasSubstr("--bind"));
    EXPECT_THAT(refused({"add", "a/b", "vduse"}), HasSubstr("'a/b' is no name"));
    EXPECT_THAT(refused({"add", "x", "vduse", "--mac", "52:54:00:12:34"}), HasSubstr("six bytes"));
    EXPECT_THAT(refused({"add", "x", "vduse", "--mtu", "67"}), HasSubstr("68 to 65535"));
    EXPECT_THAT(refused({"add", "x", "vduse", "--max-vqp", "0"}), HasSubstr("1 to 65535"));
    EXPECT_THAT(refused({"show"}), HasSubstr("NAME"));
}

TEST(CtlDevices, HelpIsThatOfTheLastCommand) {
    testing::internal::CaptureStdout();
    const std::vector<const char*> words{"viaductctl", "devices", "bind", "--help"};
    EXPECT_EQ(parse_command_line(4, words.data(), ""), std::nullopt);
    EXPECT_THAT(testing::internal::GetCapturedStdout(),
                AllOf(HasSubstr("viaductctl devices bind"), HasSubstr("devices del removes it")));
}

TEST(CtlNewDevice, AddressesAreSixBytesOfOneCard) {
    EXPECT_EQ(parse_mac("52:54:00:ab:CD:ef"),
              (management::MacAddress{0x52, 0x54, 0, 0xab, 0xcd, 0xef}));
    for (const char* wrong : {"", "52:54:00:12:34:5", "52:54:00:12:34:56:78", "5:54:00:12:34:56",
                              "52-54-00-12-34-56", "52:54:00:12:34:xx", "52:54:00:12:34:56 "}) {
        EXPECT_THROW((void)parse_mac(wrong), UsageError) << wrong;
    }
    EXPECT_THAT([] { (void)parse_mac("01:00:5e:00:00:01"); },
                ThrowsMessage<UsageError>(HasSubstr("multicast")));
}

TEST(CtlNewDevice, FeaturesAreBitsOrNames) {
    EXPECT_EQ(parse_features(1, "0x100000020"), 0x100000020U);
    EXPECT_EQ(parse_features(1, "VIRTIO_NET_F_MAC,VIRTIO_F_VERSION_1"), 0x100000020U);
    EXPECT_EQ(parse_features(1, "MAC,VERSION_1"), 0x100000020U);
    EXPECT_EQ(parse_features(2, "FLUSH"), block_flush);
    EXPECT_THAT([] { (void)parse_features(1, "MAK"); },
                ThrowsMessage<UsageError>(AllOf(HasSubstr("'MAK'"), HasSubstr("'MAC'"))));
    EXPECT_THAT([] { (void)parse_features(1, "VIRTIO_NET_F_MAK"); },
                ThrowsMessage<UsageError>(HasSubstr("'VIRTIO_NET_F_MAC'")));
    EXPECT_THROW((void)parse_features(1, "0x12345678123456789"), UsageError);
    EXPECT_THROW((void)parse_features(1, "0x"), UsageError);
}

TEST(CtlDoctor, SaysBelowEachCheckWhatMendsIt) {
    const std::vector<Finding> findings{
        {"kernel", Finding::Verdict::ok, "6.12", ""},
        {"module vhost_vdpa", Finding::Verdict::missing, "not loaded", "modprobe vhost_vdpa"},
        {"devices", Finding::Verdict::advisable, "none", "viaductctl devices add NAME PARENT"}};
    EXPECT_EQ(findings_text(findings),
              "verdict    check              found\n"
              "ok         kernel             6.12\n"
              "missing    module vhost_vdpa  not loaded\n"
              "           → modprobe vhost_vdpa\n"
              "advisable  devices            none\n"
              "           → viaductctl devices add NAME PARENT\n");
    EXPECT_EQ(missing(findings), 1U);
    EXPECT_EQ(json::value(json_of(findings)), json::parse(R"([
        {"check": "kernel", "verdict": "ok", "found": "6.12"},
        {"check": "module vhost_vdpa", "verdict": "missing", "found": "not loaded",
         "remedy": "modprobe vhost_vdpa"},
        {"check": "devices", "verdict": "advisable", "found": "none",
         "remedy": "viaductctl devices add NAME PARENT"}])"));
}

}  // namespace
}  // namespace viaduct::ctl
