#include "vdpa/management/host_device.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "vdpa/management/kernel_file.hpp"
#include "vdpa/management/persistent_binding.hpp"

namespace viaduct::management {
namespace {

/// Kernels before 6.9 do not tell how large a disk is: its node does, when it has one here.
std::optional<std::uint64_t> capacity_of(const Roots& roots, const DeviceNode& node) {
    if (node.kind != DeviceNode::Kind::block) return std::nullopt;
    const std::string name = std::filesystem::path(node.name).filename();
    const auto sectors = read_kernel_file(roots.sys / "class/block" / name / "size");
    if (!sectors) return std::nullopt;
    constexpr std::uint64_t sector = 512;
    return std::strtoull(sectors->c_str(), nullptr, 10) * sector;
}

HostDevice look_at(const Roots& roots, VdpaFamily& family, DeviceEntry entry) {
    const VdpaBus bus(roots);
    HostDevice device{.entry = std::move(entry),
                      .config = {},
                      .driver = {},
                      .node = {},
                      .persistent = {},
                      .users = {}};
    const std::string& name = device.entry.name;
    device.config = family.config(name);
    device.driver = bus.driver(name);
    device.node = bus.node(name);
    device.persistent = persistent_driver(roots, name);
    if (!device.node) return device;
    device.users = users_of(roots, device.node->numbers);
    if (!device.config.capacity) device.config.capacity = capacity_of(roots, *device.node);
    return device;
}

}  // namespace

std::vector<HostDevice> host_devices(const Roots& roots, VdpaFamily& family) {
    std::vector<HostDevice> devices;
    for (DeviceEntry& entry : family.devices()) {
        // One that is removed meanwhile is no longer in sysfs.
        if (!VdpaBus(roots).has(entry.name)) continue;
        devices.push_back(look_at(roots, family, std::move(entry)));
    }
    std::ranges::sort(devices, {}, [](const HostDevice& device) { return device.entry.name; });
    return devices;
}

HostDevice host_device(const Roots& roots, VdpaFamily& family, const std::string& name) {
    if (auto entry = family.device(name)) return look_at(roots, family, std::move(*entry));
    std::string names;
    for (const DeviceEntry& entry : family.devices()) {
        names += (names.empty() ? "" : ", ") + entry.name;
    }
    throw Error("there is no vDPA device '{}'; there are: {}", name,
                names.empty() ? "none" : names);
}

}  // namespace viaduct::management
