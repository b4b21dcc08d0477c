/// The vDPA bus as sysfs shows it (/sys/bus/vdpa): which driver has a device, which node that makes
/// of it, and giving it to another driver.
///
/// Two drivers can have a device. vhost_vdpa makes /dev/vhost-vdpa-N of it, for a VMM; virtio_vdpa
/// makes it a virtio device of this host: /dev/vdX or a network interface. The kernel gives a new
/// device to whichever was loaded first, unless driver_override names one.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "vdpa/management/device_users.hpp"
#include "vdpa/management/roots.hpp"

namespace viaduct::management {

enum class Driver { vhost, virtio };

/// The kernel's name, of the driver and of its module: "vhost_vdpa", "virtio_vdpa".
[[nodiscard]] std::string kernel_name(Driver driver);

/// What a bound device is to programs.
struct DeviceNode {
    enum class Kind { vhost, block, network, other };
    Kind kind = Kind::other;
    std::string name;                 // "/dev/vhost-vdpa-0", "/dev/vda", "eth1", "virtio3"
    std::vector<NodeNumber> numbers;  // what processes open; a disk's partitions too
    friend bool operator==(const DeviceNode&, const DeviceNode&) = default;
};

class VdpaBus {
public:
    explicit VdpaBus(Roots roots = {}) : roots_(std::move(roots)) {}

    /// Whether the kernel has a vDPA bus: the vdpa module is there.
    [[nodiscard]] bool exists() const;
    /// By name.
    [[nodiscard]] std::vector<std::string> devices() const;
    [[nodiscard]] bool has(const std::string& device) const;

    /// The kernel's name of the driver that has it; nothing when none has. A device that does not
    /// exist is an Error, here and below.
    [[nodiscard]] std::optional<std::string> driver(const std::string& device) const;
    /// Nothing when every driver may have it.
    [[nodiscard]] std::optional<std::string> driver_override(const std::string& device) const;
    /// Whether there is a driver of that name to bind to: its module is loaded.
    [[nodiscard]] bool has_driver(Driver driver) const;

    /// Nothing while no driver has it, or its driver is not done yet.
    [[nodiscard]] std::optional<DeviceNode> node(const std::string& device) const;
    /// Waits until it is there, in /dev too. Throws Error after `limit`.
    [[nodiscard]] DeviceNode wait_for_node(const std::string& device,
                                           std::chrono::milliseconds limit) const;

    /// Who uses it, through its node.
    [[nodiscard]] DeviceUsers users(const std::string& device) const;

    /// Sets driver_override to `driver`, and gives the device to it; nothing to do where it has it.
    /// The driver must be there (load_module(kernel_name(driver))). Throws Error: in use, by whom;
    /// not permitted; the driver does not take the device.
    void bind(const std::string& device, Driver driver) const;

    /// Throws Error that names who uses the device, to be ended before one can `action` ("remove
    /// it"): the kernel would wait for them for as long as they stay.
    void refuse_when_in_use(const std::string& device, const std::string& action) const;

private:
    [[nodiscard]] std::filesystem::path directory(const std::string& device) const;
    void write(const std::filesystem::path& file, const std::string& text,
               const std::string& what) const;

    Roots roots_;
};

}  // namespace viaduct::management
