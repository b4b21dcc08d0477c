#include "vdpa/management/host_checks.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/core.h>

#include "base/error.hpp"
#include "vdpa/management/kernel_file.hpp"
#include "vdpa/management/kernel_module.hpp"

namespace viaduct::management {
namespace {

namespace fs = std::filesystem;
using Verdict = Finding::Verdict;

using KernelVersion = std::pair<int, int>;
constexpr KernelVersion first_with_vhost_vdpa{5, 7};
constexpr KernelVersion first_with_vduse{5, 15};

KernelVersion version_of(const std::string& release) {
    KernelVersion version{0, 0};
    // NOLINTNEXTLINE(cert-err34-c): what cannot be read is an old kernel.
    (void)std::sscanf(release.c_str(), "%d.%d", &version.first, &version.second);
    return version;
}

Finding check_kernel(const Host& host) {
    const KernelVersion version = version_of(host.kernel_release);
    const std::string newer =
        "on Debian 12: apt-get install linux-image-6.12-amd64, and reboot into it";
    if (version < first_with_vhost_vdpa) {
        return {"kernel", Verdict::missing, host.kernel_release + ", vhost-vdpa came with 5.7",
                newer};
    }
    if (version < first_with_vduse) {
        return {"kernel", Verdict::advisable, host.kernel_release + ", VDUSE came with 5.15",
                newer};
    }
    return {"kernel", Verdict::ok, host.kernel_release, ""};
}

/// `otherwise` is the verdict when it is not there.
Finding check_module(const Host& host, const std::string& module, Verdict otherwise) {
    const std::string subject = "module " + module;
    switch (module_state(host.roots, module, host.kernel_release)) {
        case ModuleState::loaded:
            return {subject, Verdict::ok, "loaded", ""};
        case ModuleState::built_in:
            return {subject, Verdict::ok, "part of the kernel", ""};
        case ModuleState::available:
            return {subject, otherwise, "not loaded", "modprobe " + module};
        case ModuleState::missing:
            break;
    }
    return {subject, otherwise, "not there", remedy_for_missing(module)};
}

/// Whose a node is: "root:kvm 0660".
std::string ownership(const fs::path& node) {
    struct stat status {};
    if (::stat(node.c_str(), &status) != 0) return "gone";
    const passwd* const owner = ::getpwuid(status.st_uid);
    const std::string user = owner != nullptr ? owner->pw_name : std::to_string(status.st_uid);
    const ::group* const members = ::getgrgid(status.st_gid);
    const std::string group = members != nullptr ? members->gr_name : std::to_string(status.st_gid);
    return fmt::format("{}:{} {:04o}", user, group, status.st_mode & 07777U);
}

Finding check_access(const Host& host, const std::string& name, Verdict otherwise) {
    const fs::path node = host.roots.dev / name;
    const std::string path = "/dev/" + name;
    if (host.may_open(node)) return {path, Verdict::ok, "open to " + host.user, ""};
    return {path, otherwise, fmt::format("closed to {} ({})", host.user, ownership(node)),
            fmt::format("chgrp kvm {0} && chmod g+rw {0} && usermod -aG kvm {1}, and log in again",
                        path, host.user)};
}

Finding check_kvm(const Host& host) {
    if (!fs::exists(host.roots.dev / "kvm")) {
        return {"/dev/kvm", Verdict::missing, "not there",
                "switch virtualization on in the firmware (or, of a virtual machine, in its host), "
                "and modprobe kvm_intel or kvm_amd"};
    }
    return check_access(host, "kvm", Verdict::missing);
}

Finding check_vduse_control(const Host& host) {
    if (!fs::exists(host.roots.dev / "vduse/control")) {
        const bool available =
            module_state(host.roots, "vduse", host.kernel_release) == ModuleState::available;
        return {"/dev/vduse/control", Verdict::advisable, "not there",
                available ? "modprobe vduse" : remedy_for_missing("vduse")};
    }
    return check_access(host, "vduse/control", Verdict::advisable);
}

void check_nodes(const Host& host, std::vector<Finding>& findings) {
    for (const std::string& name : names_in(host.roots.dev, "vhost-vdpa-")) {
        findings.push_back(check_access(host, name, Verdict::missing));
    }
}

Finding check_locked_memory(const Host& host) {
    const std::string subject = "locked memory";
    const rlim_t limit = host.locked_memory.rlim_cur;
    if (limit == RLIM_INFINITY) return {subject, Verdict::ok, "unlimited", ""};
    return {subject, Verdict::advisable,
            fmt::format("{} KiB; devices with an IOMMU pin all guest memory", limit / 1024),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in a service"};
}

Finding check_iotlb_entries(const Host& host) {
    const std::string subject = "vhost_vdpa max_iotlb_entries";
    const auto entries = module_parameter(host.roots, "vhost_vdpa", "max_iotlb_entries");
    if (!entries) return {subject, Verdict::ok, "as the module comes (2048)", ""};
    if (version_of(*entries).first > 2048) return {subject, Verdict::ok, *entries, ""};
    return {subject, Verdict::advisable,
            *entries + "; large guests on devices with an IOMMU may need more",
            "echo options vhost_vdpa max_iotlb_entries=1000000 >/etc/modprobe.d/vhost_vdpa.conf, "
            "or run them with --memory …,hugepages=on"};
}

Finding check_parents(const Host& host) {
    const std::string subject = "parents";
    if (host.parents && !host.parents->empty()) {
        std::string list;
        for (const ManagementDevice& parent : *host.parents) {
            list += (list.empty() ? "" : ", ") + parent.handle();
        }
        return {subject, Verdict::ok, list, ""};
    }
    return {subject, Verdict::advisable, "nothing here makes vDPA devices",
            "modprobe vduse, or load the driver of a card that does"};
}

Finding check_devices(const Host& host) {
    const std::string subject = "devices";
    if (host.devices && !host.devices->empty()) {
        return {subject, Verdict::ok, std::to_string(host.devices->size()), ""};
    }
    return {subject, Verdict::advisable, "none", "viaductctl devices add NAME PARENT"};
}

}  // namespace

Host this_host() {
    Host host{.roots = {},
              .kernel_release = kernel_release(),
              .user = {},
              .may_open =
                  [](const fs::path& node) {
                      return ::faccessat(AT_FDCWD, node.c_str(), R_OK | W_OK, AT_EACCESS) == 0;
                  },
              .parents = {},
              .devices = {}};
    const passwd* const user = ::getpwuid(::geteuid());
    host.user = user != nullptr ? user->pw_name : std::to_string(::geteuid());
    ::getrlimit(RLIMIT_MEMLOCK, &host.locked_memory);
    try {
        VdpaFamily family;
        host.parents = family.management_devices();
        host.devices = family.devices();
    } catch (const Error&) {
        // No vDPA here: the modules' checks say so.
    }
    return host;
}

std::vector<Finding> check_host(const Host& host) {
    std::vector<Finding> findings{check_kernel(host),
                                  check_module(host, "vdpa", Verdict::missing),
                                  check_module(host, "vhost_vdpa", Verdict::missing),
                                  check_module(host, "virtio_vdpa", Verdict::advisable),
                                  check_module(host, "vduse", Verdict::advisable),
                                  check_kvm(host),
                                  check_vduse_control(host)};
    check_nodes(host, findings);
    findings.insert(findings.end(), {check_locked_memory(host), check_iotlb_entries(host),
                                     check_parents(host), check_devices(host)});
    return findings;
}

}  // namespace viaduct::management
