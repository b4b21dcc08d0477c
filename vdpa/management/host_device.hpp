/// A vDPA device of this host, by all that can be known without disturbing it: netlink, sysfs and
/// who uses it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vdpa/management/vdpa_bus.hpp"
#include "vdpa/management/vdpa_family.hpp"

namespace viaduct::management {

struct HostDevice {
    DeviceEntry entry;
    DeviceConfig config;
    std::optional<std::string> driver;  // "vhost_vdpa"
    std::optional<DeviceNode> node;
    std::optional<Driver> persistent;  // what a reboot will bind it to
    DeviceUsers users;
};

/// By name. Throws Error.
[[nodiscard]] std::vector<HostDevice> host_devices(const Roots& roots, VdpaFamily& family);
/// Throws Error that names those there are.
[[nodiscard]] HostDevice host_device(const Roots& roots, VdpaFamily& family,
                                     const std::string& name);

}  // namespace viaduct::management
