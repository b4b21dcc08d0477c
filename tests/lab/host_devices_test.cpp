// viaductctl devices, on a kernel with vDPA's simulators and VDUSE: what it does to the host's
// devices, and what it refuses to.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.hpp"
#include "tests/lab/lab_device.hpp"
#include "tests/support/netlink_recording.hpp"
#include "tests/support/recorded_tree.hpp"
#include "tests/support/vdpa_family_tour.hpp"
#include "tests/support/vm_process.hpp"
#include "vdpa/management/kernel_module.hpp"
#include "vdpa/management/persistent_binding.hpp"
#include "vdpa/management/vdpa_bus.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using management::Driver;
using management::VdpaBus;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

using Words = std::vector<std::string>;

class HostDevices : public testing::Test {
protected:
    /// What a test made goes; where the lab is the host itself (scripts/lab --native), what it had
    /// stays.
    void TearDown() override {
        for (const std::string& name : bus_.devices()) {
            if (std::ranges::count(before_, name) == 0) run({"vdpa", "dev", "del", name});
        }
        fs::remove(rule_of("disk"));
    }

    /// `viaductctl devices` and these words; `prefix` is a command that runs it.
    static Outcome devices(const Words& words, Words prefix = {}) {
        prefix.insert(prefix.end(), {VIADUCT_CTL, "devices"});
        prefix.insert(prefix.end(), words.begin(), words.end());
        return run(prefix);
    }
    /// What it prints; it succeeds without a word on stderr.
    static std::string done(const Words& words) {
        const Outcome outcome = devices(words);
        EXPECT_EQ(outcome.status, 0) << outcome.err;
        EXPECT_EQ(outcome.err, "");
        return outcome.out;
    }
    static json::value done_json(Words words) {
        words.emplace_back("--json");
        return json::parse(done(words));
    }
    /// Refused with one line, and nothing on standard output.
    static std::string refused(const Words& words, const Words& prefix = {}) {
        const Outcome outcome = devices(words, prefix);
        EXPECT_EQ(outcome.status, 1);
        EXPECT_EQ(outcome.out, "");
        EXPECT_THAT(outcome.err, StartsWith("viaductctl: "));
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
        return outcome.err;
    }
    static std::string as_nobody(const Words& words) {
        return refused(words, {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    }
    static std::string node_of(const std::string& name) {
        return std::string(done_json({"show", name}).at("node").as_string());
    }
    static std::string rule_of(const std::string& name) { return management::rule_path({}, name); }
    static void expect_nothing_left() { EXPECT_EQ(done_json({}), json::array{}); }

    VdpaBus bus_;
    Words before_ = bus_.devices();
};

/// Keeps a recording for the unit tests, when whoever runs this asks for it: see recordings_test.
void keep(const std::string& name, const std::string& text) {
    const char* const output = std::getenv("LAB_OUTPUT");
    if (output == nullptr) return;
    const fs::path directory = fs::path(output) / "management";
    fs::create_directories(directory);
    std::ofstream(directory / (name + ".txt")) << text;
}

TEST_F(HostDevices, TheKernelStillSaysWhatWasRecorded) {
    std::string record;
    expect_tour_of_simulators(tour_vdpa_family(recording_netlink_socket(record)));
    keep("netlink_vdpa", record);
}

TEST_F(HostDevices, ADiskIsAddedShownListedAndRemoved) {
    EXPECT_EQ(done({"add", "disk", "vdpasim_blk"}),
              "disk: bound to vhost_vdpa, /dev/vhost-vdpa-0\n");
    EXPECT_THAT(done({}), AllOf(HasSubstr("disk    vdpasim_blk  block  vhost_vdpa"),
                                HasSubstr("/dev/vhost-vdpa-0"), HasSubstr("128 MiB"),
                                HasSubstr("VIRTIO_BLK_F_FLUSH")));
    const json::value shown = done_json({"show", "disk"});
    EXPECT_EQ(shown.at("capacity"), 128U << 20);
    EXPECT_EQ(shown.at("queues"), 1);
    EXPECT_EQ(shown.at("node"), "/dev/vhost-vdpa-0");
    EXPECT_EQ(done_json({}), json::array{shown});
    EXPECT_EQ(done({"del", "disk"}), "disk: removed\n");
    expect_nothing_left();
}

TEST_F(HostDevices, ACardHasTheAddressMtuAndFeaturesThatItWasAddedWith) {
    const json::value card =
        done_json({"add", "card", "vdpasim_net", "--mac", "52:54:00:12:34:56", "--mtu", "9000",
                   "--features", "MAC,MTU,VERSION_1,ACCESS_PLATFORM", "--bind", "virtio"});
    EXPECT_EQ(card.at("mac"), "52:54:00:12:34:56");
    EXPECT_EQ(card.at("mtu"), 9000);
    EXPECT_EQ(card.at("features").as_array().size(), 4U);
    EXPECT_EQ(card.at("driver"), "virtio_vdpa");
    const std::string interface(card.at("node").as_string());
    std::string address;
    std::ifstream("/sys/class/net/" + interface + "/address") >> address;
    EXPECT_EQ(address, "52:54:00:12:34:56") << "so has the interface that became of it";
}

TEST_F(HostDevices, ADiskGoesToThisHostAndBack) {
    done({"add", "disk", "vdpasim_blk", "--bind", "vhost"});
    EXPECT_THAT(done({"bind", "disk", "virtio"}), HasSubstr("disk: bound to virtio_vdpa, /dev/vd"));
    const std::string node = node_of("disk");
    {
        std::fstream disk(node, std::ios::in | std::ios::out | std::ios::binary);
        disk.write("viaduct", 7);
        disk.flush();
        ASSERT_TRUE(disk) << "writing to " << node;
    }
    EXPECT_THAT(done({"bind", "disk", "vhost"}), HasSubstr("vhost_vdpa, /dev/vhost-vdpa-0"));
    EXPECT_FALSE(fs::exists(node));
    done({"bind", "disk", "virtio"});
    std::string text(7, ' ');
    std::ifstream(node_of("disk"), std::ios::binary).read(text.data(), 7);
    EXPECT_EQ(text, "viaduct") << "it is the same disk";
    EXPECT_EQ(bus_.driver_override("disk"), "virtio_vdpa");
    EXPECT_EQ(done({"bind", "disk", "virtio"}),
              fmt::format("disk: bound to virtio_vdpa, {}\n", node_of("disk")))
        << "where it is already it stays";
}

TEST_F(HostDevices, WhoHasADeviceOpenIsNamedAndNotDisturbed) {
    done({"add", "disk", "vdpasim_blk", "--bind", "vhost"});
    const Process holder({"bash", "-c", "exec 9<>/dev/vhost-vdpa-0; echo open; exec sleep 300"},
                         Seconds(300));
    ASSERT_TRUE(holder.wait_for_output("open", Seconds(30))) << holder.err();
    const auto named = AllOf(HasSubstr("'disk' (/dev/vhost-vdpa-0) is in use by "),
                             HasSubstr(fmt::format("(pid {})", holder.pid())));
    EXPECT_THAT(refused({"bind", "disk", "virtio"}), named);
    EXPECT_THAT(refused({"del", "disk"}), named);
    EXPECT_EQ(done_json({"show", "disk"}).at("in-use-by").at(0).at("pid"), holder.pid());
    EXPECT_EQ(bus_.driver("disk"), "vhost_vdpa");
    EXPECT_EQ(bus_.driver_override("disk"), std::nullopt) << "as it was";
    EXPECT_TRUE(holder.running());
}

TEST_F(HostDevices, ADiskThatIsMountedStays) {
    done({"add", "disk", "vdpasim_blk", "--bind", "virtio"});
    const std::string node = node_of("disk");
    management::load_module("ext4");
    ASSERT_EQ(run({"mkfs.ext4", "-q", node}).status, 0);
    fs::create_directories("/run/mounted");
    ASSERT_EQ(run({"mount", node, "/run/mounted"}).status, 0);
    EXPECT_THAT(refused({"bind", "disk", "vhost"}), HasSubstr("mounted on /run/mounted"));
    EXPECT_THAT(refused({"del", "disk"}), HasSubstr("mounted on /run/mounted"));
    EXPECT_EQ(done_json({"show", "disk"}).at("in-use-by").at(0).at("use"),
              "mounted on /run/mounted");
    ASSERT_EQ(run({"umount", "/run/mounted"}).status, 0);
    done({"bind", "disk", "vhost"});
}

TEST_F(HostDevices, AVduseDeviceIsAddedOnceItsDaemonHasMadeIt) {
    EXPECT_THAT(refused({"add", "exported", "vduse"}),
                AllOf(HasSubstr("VDUSE has no device 'exported'"), HasSubstr("start the daemon")));
    const TemporaryDirectory directory;
    make_pattern_image(directory.path("disk.raw"), 1U << 20);
    const auto exported = LabDevice::vduse("exported", directory.path("disk.raw"));
    EXPECT_THAT(done({}), HasSubstr("exported  vduse   block  vhost_vdpa"));
    EXPECT_EQ(done_json({"show", "exported"}).at("capacity"), 1U << 20);
    EXPECT_THAT(done({"bind", "exported", "virtio"}), HasSubstr("/dev/vd"));
    EXPECT_EQ(std::ifstream(node_of("exported"), std::ios::binary).get(), 1)
        << "sector 0 of the image";
    done({"bind", "exported", "vhost"});
}

TEST_F(HostDevices, WhatCannotBeAddedIsExplained) {
    done({"add", "disk", "vdpasim_blk"});
    EXPECT_THAT(refused({"add", "disk", "vdpasim_blk"}), HasSubstr("devices del disk"));
    EXPECT_THAT(refused({"add", "other", "pci/0000:77:00.0"}),
                AllOf(HasSubstr("no parent 'pci/0000:77:00.0'"), HasSubstr("vdpasim_blk")));
    EXPECT_THAT(refused({"add", "other", "vdpasim_blk", "--mac", "52:54:00:12:34:56"}),
                HasSubstr("does not let all of these be chosen"));
    EXPECT_THAT(refused({"add", "other", "vdpasim_net", "--mtu", "9000", "--features",
                         "VERSION_1,ACCESS_PLATFORM"}),
                HasSubstr("Missing features 0x8"));
    EXPECT_EQ(bus_.devices(), Words{"disk"});
}

TEST_F(HostDevices, ADeviceThatThereIsNotIsAnError) {
    done({"add", "disk", "vdpasim_blk"});
    EXPECT_THAT(refused({"show", "disc"}),
                AllOf(HasSubstr("no vDPA device 'disc'"), HasSubstr("there are: disk")));
    EXPECT_THAT(refused({"del", "disc"}), HasSubstr("no vDPA device 'disc'"));
    EXPECT_THAT(refused({"bind", "disc", "vhost"}), HasSubstr("no vDPA device 'disc'"));
}

TEST_F(HostDevices, OthersThanRootMayLookAndNoMore) {
    done({"add", "disk", "vdpasim_blk", "--bind", "vhost"});
    EXPECT_THAT(as_nobody({"add", "other", "vdpasim_blk"}), HasSubstr("run it as root"));
    EXPECT_THAT(as_nobody({"del", "disk"}), HasSubstr("run it as root"));
    EXPECT_THAT(as_nobody({"bind", "disk", "virtio"}), HasSubstr("run it as root"));
    const Outcome seen =
        devices({}, {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    EXPECT_EQ(seen.status, 0) << seen.err;
    EXPECT_THAT(seen.out, AllOf(HasSubstr("128 MiB"), HasSubstr("? (ask as root)")));
}

TEST_F(HostDevices, ModulesAreLoadedAsTheyAreNeeded) {
    ASSERT_EQ(run({"modprobe", "-r", "virtio_vdpa", "vhost_vdpa", "vdpa_sim_blk"}).status, 0);
    EXPECT_EQ(management::module_state({}, "vdpa_sim_blk"), management::ModuleState::available);
    fs::create_directories("/etc/modprobe.d");
    std::ofstream("/etc/modprobe.d/lab.conf") << "options vhost_vdpa max_iotlb_entries=4711\n";
    EXPECT_EQ(done({"add", "disk", "vdpasim_blk", "--bind", "vhost"}),
              "disk: bound to vhost_vdpa, /dev/vhost-vdpa-0\n");
    EXPECT_EQ(management::module_state({}, "vdpa_sim_blk"), management::ModuleState::loaded);
    EXPECT_EQ(management::module_parameter({}, "vhost_vdpa", "max_iotlb_entries"), "4711")
        << "with the options that modprobe would take";
    fs::remove("/etc/modprobe.d/lab.conf");
    EXPECT_THAT([] { management::load_module("nonesuch"); },
                testing::ThrowsMessage<Error>(HasSubstr("has no module nonesuch")));
    done({"del", "disk"});
    ASSERT_EQ(run({"modprobe", "-r", "vdpa_sim_blk"}).status, 0);
    EXPECT_THAT(as_nobody({"add", "disk", "vdpasim_blk"}),
                AllOf(HasSubstr("module vdpa_sim_blk"), HasSubstr("run as root")));
}

TEST_F(HostDevices, TheDoctorTellsWhatIsMissing) {
    management::load_module("virtio_vdpa");
    const Outcome sound = devices({"doctor"});
    EXPECT_EQ(sound.status, 0) << sound.out << sound.err;
    EXPECT_THAT(sound.out, AllOf(HasSubstr("ok         module vhost_vdpa"),
                                 HasSubstr("open to root"), HasSubstr("vdpasim_net")));
    ASSERT_EQ(run({"modprobe", "-r", "vhost_vdpa"}).status, 0);
    const Outcome lacking = devices({"doctor"});
    EXPECT_EQ(lacking.status, 1);
    EXPECT_THAT(lacking.out, HasSubstr("missing    module vhost_vdpa             not loaded\n"
                                       "           → modprobe vhost_vdpa\n"));
    EXPECT_THAT(lacking.err, HasSubstr("1 of the checks"));
    EXPECT_EQ(devices({"doctor", "--json"}).status, 1);
    management::load_module("vhost_vdpa");
    EXPECT_EQ(devices({"doctor"}).status, 0);
}

/// systemd-udevd(8), as on a host that boots.
class Udev {
public:
    Udev() : daemon_({"/lib/systemd/systemd-udevd"}, Seconds(300)) {
        while (!fs::exists("/run/udev/control")) {
            if (!daemon_.running()) throw Error("udev: {}", daemon_.err());
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }
    /// Waits until it has done all there is to do.
    void settle() const {
        const Outcome settled = run({"udevadm", "settle", "--timeout=60"}, Seconds(90));
        EXPECT_EQ(settled.status, 0) << settled.err;
    }
    [[nodiscard]] std::string log() const { return daemon_.err(); }

private:
    Process daemon_;
};

TEST_F(HostDevices, APersistentBindingHoldsWheneverTheDeviceComesBack) {
    // The one that is loaded first takes new devices: here the one that is not wanted.
    ASSERT_EQ(run({"modprobe", "-r", "vhost_vdpa", "virtio_vdpa"}).status, 0);
    management::load_module("virtio_vdpa");
    management::load_module("virtio_blk");
    done({"add", "disk", "vdpasim_blk"});
    done({"add", "other", "vdpasim_blk"});
    EXPECT_THAT(done({"bind", "disk", "vhost", "--persist"}), HasSubstr("vhost_vdpa"));
    EXPECT_TRUE(fs::exists(rule_of("disk")));
    EXPECT_EQ(done_json({"show", "disk"}).at("persistent-driver"), "vhost_vdpa");

    const Udev udev;
    // As a reboot does: devices and drivers go, and come back in the same order.
    for (const char* name : {"disk", "other"}) run({"vdpa", "dev", "del", name});
    ASSERT_EQ(run({"modprobe", "-r", "vhost_vdpa"}).status, 0);
    for (const char* name : {"disk", "other"}) {
        ASSERT_EQ(run({"vdpa", "dev", "add", "name", name, "mgmtdev", "vdpasim_blk"}).status, 0);
    }
    udev.settle();
    EXPECT_EQ(bus_.driver("disk"), "vhost_vdpa") << udev.log();
    EXPECT_EQ(bus_.driver_override("disk"), "vhost_vdpa");
    EXPECT_EQ(bus_.driver("other"), "virtio_vdpa") << "nobody asked for it";

    // With both drivers there already.
    run({"vdpa", "dev", "del", "disk"});
    ASSERT_EQ(run({"vdpa", "dev", "add", "name", "disk", "mgmtdev", "vdpasim_blk"}).status, 0);
    udev.settle();
    EXPECT_EQ(bus_.driver("disk"), "vhost_vdpa") << udev.log();

    EXPECT_THAT(done({"bind", "disk", "virtio", "--persist"}), HasSubstr("virtio_vdpa"));
    EXPECT_EQ(management::persistent_driver({}, "disk"), Driver::virtio) << "the last one holds";
    EXPECT_THAT(done({"del", "disk"}), HasSubstr("so is what bound it at boot"));
    EXPECT_FALSE(fs::exists(rule_of("disk")));
}

TEST_F(HostDevices, ARuleWhoseDeviceIsGoneCanBeRemoved) {
    done({"add", "disk", "vdpasim_blk", "--bind", "vhost", "--persist"});
    run({"vdpa", "dev", "del", "disk"});
    EXPECT_THAT(done({"del", "disk"}), HasSubstr("what would have bound it is removed"));
    EXPECT_FALSE(fs::exists(rule_of("disk")));
    EXPECT_THAT(refused({"del", "disk"}), HasSubstr("no vDPA device 'disk'"));
}

TEST_F(HostDevices, SysfsIsRecordedForTheUnitTests) {
    // The first to be loaded has the disk without anybody's doing.
    ASSERT_EQ(run({"modprobe", "-r", "virtio_vdpa", "vhost_vdpa"}).status, 0);
    management::load_module("vhost_vdpa");
    done({"add", "disk", "vdpasim_blk"});
    done({"add", "local", "vdpasim_blk", "--bind", "virtio"});
    done({"add", "card", "vdpasim_net", "--bind", "virtio"});
    const std::string record = record_vdpa_sysfs();
    EXPECT_THAT(record, HasSubstr("disk/vhost-vdpa-0/dev"));
    EXPECT_THAT(record, HasSubstr("/block/vd"));
    keep("sysfs_vdpa", record);
}

}  // namespace
}  // namespace viaduct::test
