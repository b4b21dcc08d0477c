/// What a host needs to run virtual machines on vDPA devices, looked at piece by piece: what was
/// found, and the command that mends what is missing. Changes nothing, opens nothing.
#pragma once

#include <sys/resource.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vdpa/management/roots.hpp"
#include "vdpa/management/vdpa_family.hpp"

namespace viaduct::management {

struct Finding {
    enum class Verdict {
        ok,
        missing,   // nothing runs on vhost-vdpa before it is mended
        advisable  // not needed by every device, or for every use
    };
    std::string subject;  // "module vhost_vdpa"
    Verdict verdict = Verdict::ok;
    std::string found;   // "not loaded"
    std::string remedy;  // a command or what else to do; empty when ok
};

/// Whom to look at; as made it is this host, for this process's user.
struct Host {
    Roots roots;
    std::string kernel_release;
    std::string user;  // for whom permissions are looked at
    rlimit locked_memory{};
    /// Whether the user may read and write a node.
    std::function<bool(const std::filesystem::path&)> may_open;
    /// Nothing when the kernel has no vDPA here.
    std::optional<std::vector<ManagementDevice>> parents;
    std::optional<std::vector<DeviceEntry>> devices;
};

[[nodiscard]] Host this_host();

[[nodiscard]] std::vector<Finding> check_host(const Host& host);

}  // namespace viaduct::management
