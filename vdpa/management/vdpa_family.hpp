/// The kernel's "vdpa" family of generic netlink (linux/vdpa.h): which parents can make vDPA
/// devices, which devices there are, what they are like; adding and removing them. What the
/// `vdpa` command of iproute2 does.
///
/// Nothing here opens a device or disturbs one in use: the kernel answers out of what it knows.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vdpa/management/generic_netlink.hpp"

namespace viaduct::management {

using MacAddress = std::array<std::uint8_t, 6>;

/// A management device: a parent that can make vDPA devices.
struct ManagementDevice {
    std::string bus;  // "pci"; empty for "vduse" and the simulators
    std::string name;
    std::uint64_t device_types = 0;             // bit N: virtio device id N
    std::optional<std::uint64_t> features{};    // nothing where the kernel does not tell
    std::optional<std::uint32_t> max_queues{};  // the same

    /// "vduse", "pci/0000:3b:00.2"
    [[nodiscard]] std::string handle() const { return bus.empty() ? name : bus + "/" + name; }
};

struct DeviceEntry {
    std::string name;
    std::string parent;  // the management device's handle
    std::uint32_t device_id = 0;
    std::uint32_t vendor_id = 0;
    std::uint32_t max_queues = 0;
    std::uint16_t max_queue_size = 0;
    std::uint16_t min_queue_size = 0;
};

/// What the kernel tells of a device's features and configuration space; less on older ones, and
/// nothing of types other than net (all kernels) and block (6.9 and newer).
struct DeviceConfig {
    std::optional<std::uint64_t> features;             // that the device has
    std::optional<std::uint64_t> negotiated_features;  // once its driver has set FEATURES_OK
    std::optional<MacAddress> mac;
    std::optional<std::uint16_t> mtu;
    std::optional<std::uint16_t> max_queue_pairs;
    std::optional<bool> link_up;
    std::optional<std::uint64_t> capacity;    // in bytes
    std::optional<std::uint32_t> block_size;  // in bytes
    std::optional<std::uint16_t> block_queues;
    std::optional<bool> read_only;
};

struct NewDevice {
    std::string name;
    std::string parent;  // "vduse", "vdpasim_net", "pci/0000:3b:00.2"
    std::optional<MacAddress> mac;
    std::optional<std::uint16_t> mtu;
    std::optional<std::uint16_t> max_queue_pairs;
    std::optional<std::uint64_t> features;  // that the device shall have
};

class VdpaFamily {
public:
    /// Throws Error that says what to do when the kernel has no vDPA: the vdpa module is missing.
    explicit VdpaFamily(std::unique_ptr<NetlinkSocket> socket = open_netlink_socket());

    std::vector<ManagementDevice> management_devices();
    std::vector<DeviceEntry> devices();
    /// Nothing when there is none of that name.
    std::optional<DeviceEntry> device(const std::string& name);
    DeviceConfig config(const std::string& name);

    /// Throws Error that says what to do: the name is taken, there is no such parent, it does not
    /// take an attribute, not permitted.
    void add(const NewDevice& device);
    /// Waits for whoever has it open, holding up every other vDPA command: see to it that nobody
    /// has (device_users.hpp). Throws Error, as above.
    void remove(const std::string& name);

private:
    GenericNetlink netlink_;
};

}  // namespace viaduct::management
