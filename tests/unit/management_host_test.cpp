// Kernel modules, the rule that binds a device at boot, and what the doctor finds.
#include <filesystem>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "tests/unit/management_world.hpp"
#include "vdpa/management/host_checks.hpp"
#include "vdpa/management/kernel_module.hpp"
#include "vdpa/management/persistent_binding.hpp"

namespace viaduct::management {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr const char* release = "6.12.1-test";

class HostTest : public testing::Test {
protected:
    HostTest() {
        host_.put(
            "f modules/6.12.1-test/modules.dep kernel/drivers/vhost/vhost_vdpa.ko.xz: "
            "kernel/drivers/vdpa/vdpa.ko.xz\n"
            "f modules/6.12.1-test/modules.builtin kernel/drivers/vdpa/vdpa-core.ko");
    }

    [[nodiscard]] ModuleState state(const std::string& module) const {
        return module_state(host_.roots(), module, release);
    }

    /// A host that lacks nothing.
    [[nodiscard]] Host sound_host() const {
        host_.put(
            "f sys/module/vdpa/initstate live\nf sys/module/vhost_vdpa/initstate live\n"
            "f sys/module/vhost_vdpa/parameters/max_iotlb_entries 1000000\n"
            "f sys/module/virtio_vdpa/initstate live\nf sys/module/vduse/initstate live\n"
            "f dev/kvm\nf dev/vduse/control\nf dev/vhost-vdpa-0");
        return {.roots = host_.roots(),
                .kernel_release = release,
                .user = "alice",
                .locked_memory = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY},
                .may_open = [](const std::filesystem::path&) { return true; },
                .parents = std::vector{ManagementDevice{.bus = "", .name = "vduse"}},
                .devices = std::vector{DeviceEntry{.name = "disk0", .parent = "vduse"}}};
    }

    static Finding about(const Host& host, const std::string& subject) {
        for (const Finding& finding : check_host(host)) {
            if (finding.subject == subject) return finding;
        }
        ADD_FAILURE() << "nothing was found about " << subject;
        return {};
    }

    HostDirectories host_;
};

using KernelModule = HostTest;
using Doctor = HostTest;
using PersistentBinding = HostTest;

TEST_F(KernelModule, IsLoadedBuiltInAvailableOrMissing) {
    EXPECT_EQ(state("vhost_vdpa"), ModuleState::available);
    EXPECT_EQ(state("vdpa_core"), ModuleState::built_in) << "'-' in the file's name is '_'";
    EXPECT_EQ(state("vdpa"), ModuleState::missing) << "a dependency is no line of its own";
    host_.put("f sys/module/vhost_vdpa/initstate live\nd sys/module/vduse/parameters");
    EXPECT_EQ(state("vhost_vdpa"), ModuleState::loaded);
    EXPECT_EQ(state("vduse"), ModuleState::built_in) << "with parameters and no state";
}

TEST_F(KernelModule, HasParametersWhenLoaded) {
    host_.put("f sys/module/vhost_vdpa/parameters/max_iotlb_entries 2048");
    EXPECT_EQ(module_parameter(host_.roots(), "vhost_vdpa", "max_iotlb_entries"), "2048");
    EXPECT_EQ(module_parameter(host_.roots(), "vduse", "anything"), std::nullopt);
}

TEST_F(KernelModule, OneThatThisKernelHasNotIsExplained) {
    EXPECT_THAT([] { load_module("viaduct_nonesuch"); },
                ThrowsMessage<Error>(
                    AllOf(HasSubstr(kernel_release()), HasSubstr("no module viaduct_nonesuch"))));
    EXPECT_THAT(remedy_for_missing("vduse"),
                AllOf(HasSubstr("CONFIG_VDPA_USER"), HasSubstr("apt-get install")));
    EXPECT_THAT(remedy_for_missing("vdpa_sim_blk"), HasSubstr("Debian's have not"));
}

TEST_F(PersistentBinding, IsARuleThatUdevCarriesOut) {
    EXPECT_EQ(rule_text("disk0", Driver::vhost),
              "# The driver of vDPA device disk0, kept by viaductctl devices bind disk0 vhost "
              "--persist;\n"
              "# viaductctl devices del disk0 removes this file.\n"
              "ACTION==\"add\", SUBSYSTEM==\"vdpa\", KERNEL==\"disk0\", "
              "ATTR{driver_override}=\"vhost_vdpa\"\n"
              "ACTION==\"add\", SUBSYSTEM==\"vdpa\", KERNEL==\"disk0\", DRIVER==\"virtio_vdpa\", "
              "ATTR{[drivers/vdpa:virtio_vdpa]unbind}=\"disk0\"\n"
              "ACTION==\"add\", SUBSYSTEM==\"vdpa\", KERNEL==\"disk0\", DRIVER!=\"vhost_vdpa\", "
              "TEST==\"[drivers/vdpa:vhost_vdpa]bind\", "
              "ATTR{[drivers/vdpa:vhost_vdpa]bind}=\"disk0\"\n"
              "ACTION==\"add\", SUBSYSTEM==\"vdpa\", KERNEL==\"disk0\", "
              "RUN{builtin}+=\"kmod load vhost_vdpa\"\n");
}

TEST_F(PersistentBinding, TheLastOneHolds) {
    const Roots roots = host_.roots();
    EXPECT_EQ(persistent_driver(roots, "disk0"), std::nullopt);
    keep_driver(roots, "disk0", Driver::vhost);
    EXPECT_EQ(persistent_driver(roots, "disk0"), Driver::vhost);
    EXPECT_EQ(persistent_driver(roots, "disk"), std::nullopt) << "another device";
    keep_driver(roots, "disk0", Driver::virtio);
    EXPECT_EQ(persistent_driver(roots, "disk0"), Driver::virtio);
    EXPECT_EQ(names_in(host_.path("etc/udev/rules.d")),
              std::vector<std::string>{"90-viaduct-vdpa-disk0.rules"});
    EXPECT_TRUE(forget_driver(roots, "disk0"));
    EXPECT_FALSE(forget_driver(roots, "disk0"));
    EXPECT_EQ(persistent_driver(roots, "disk0"), std::nullopt);
}

TEST_F(PersistentBinding, ANameThatMeansSomethingToUdevIsRefused) {
    for (const char* name : {"", "a\"b", "../x", "a b", "disk*", "$env{X}"}) {
        EXPECT_THAT([&] { keep_driver(host_.roots(), name, Driver::vhost); },
                    ThrowsMessage<Error>(HasSubstr("cannot stand in a rule")))
            << name;
    }
}

TEST_F(PersistentBinding, ADeviceWhoseNameCannotStandInARuleHasNone) {
    for (const char* name : {"", "disk@1", "a b"}) {
        EXPECT_EQ(persistent_driver(host_.roots(), name), std::nullopt) << name;
        EXPECT_FALSE(forget_driver(host_.roots(), name)) << name;
    }
}

TEST_F(Doctor, FindsNothingWrongWithASoundHost) {
    for (const Finding& finding : check_host(sound_host())) {
        EXPECT_EQ(finding.verdict, Finding::Verdict::ok) << finding.subject << finding.found;
        EXPECT_EQ(finding.remedy, "") << finding.subject;
    }
}

TEST_F(Doctor, KnowsWhichKernelsAreTooOld) {
    Host host = sound_host();
    host.kernel_release = "5.6.19-amd64";
    EXPECT_EQ(about(host, "kernel").verdict, Finding::Verdict::missing);
    host.kernel_release = "5.14.0";
    EXPECT_EQ(about(host, "kernel").verdict, Finding::Verdict::advisable) << "no VDUSE";
    host.kernel_release = "5.15.0";
    EXPECT_EQ(about(host, "kernel").verdict, Finding::Verdict::ok);
    host.kernel_release = "10.1";
    EXPECT_EQ(about(host, "kernel").verdict, Finding::Verdict::ok);
}

TEST_F(Doctor, SaysHowToLoadOrGetAModule) {
    const Host host = sound_host();
    std::filesystem::remove_all(host_.path("sys/module/vhost_vdpa"));
    Finding finding = about(host, "module vhost_vdpa");
    EXPECT_EQ(finding.verdict, Finding::Verdict::missing);
    EXPECT_EQ(finding.found, "not loaded");
    EXPECT_EQ(finding.remedy, "modprobe vhost_vdpa");
    std::filesystem::remove_all(host_.path("sys/module/vduse"));
    finding = about(host, "module vduse");
    EXPECT_EQ(finding.verdict, Finding::Verdict::advisable) << "vhost-vdpa works without";
    EXPECT_EQ(finding.found, "not there");
    EXPECT_THAT(finding.remedy, HasSubstr("CONFIG_VDPA_USER"));
}

TEST_F(Doctor, SaysHowToGetAtANode) {
    Host host = sound_host();
    host.may_open = [](const std::filesystem::path& node) { return node.filename() == "kvm"; };
    const Finding finding = about(host, "/dev/vhost-vdpa-0");
    EXPECT_EQ(finding.verdict, Finding::Verdict::missing);
    EXPECT_THAT(finding.found, HasSubstr("closed to alice ("));
    EXPECT_THAT(finding.remedy, HasSubstr("chmod g+rw /dev/vhost-vdpa-0 && usermod -aG kvm alice"));
    EXPECT_EQ(about(host, "/dev/vduse/control").verdict, Finding::Verdict::advisable);
    EXPECT_EQ(about(host, "/dev/kvm").verdict, Finding::Verdict::ok);
    host.may_open = [](const std::filesystem::path&) { return false; };
    EXPECT_THAT(about(host, "/dev/kvm").remedy, HasSubstr("usermod -aG kvm alice"));
    std::filesystem::remove(host_.path("dev/kvm"));
    EXPECT_THAT(about(host, "/dev/kvm").remedy, HasSubstr("firmware"));
}

TEST_F(Doctor, AdvisesOnLimitsAndOnAnEmptyBus) {
    Host host = sound_host();
    host.locked_memory.rlim_cur = 8U << 20U;
    EXPECT_THAT(about(host, "locked memory").found, HasSubstr("8192 KiB"));
    EXPECT_THAT(about(host, "locked memory").remedy, HasSubstr("ulimit -l unlimited"));
    host_.put("f sys/module/vhost_vdpa/parameters/max_iotlb_entries 2048");
    EXPECT_THAT(about(host, "vhost_vdpa max_iotlb_entries").remedy,
                HasSubstr("max_iotlb_entries=1000000"));
    host.devices->clear();
    EXPECT_THAT(about(host, "devices").remedy, HasSubstr("viaductctl devices add"));
    host.parents.reset();
    EXPECT_EQ(about(host, "parents").verdict, Finding::Verdict::advisable);
}

}  // namespace
}  // namespace viaduct::management
