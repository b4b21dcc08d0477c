/// /dev/vduse/control (linux/vduse.h): makes and destroys VDUSE devices.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/fd.hpp"

namespace viaduct::vduse {

/// What a device is to be; it stays that as long as it is there.
struct DeviceDescription {
    std::string name;
    std::uint32_t device_id = 0;  // virtio's
    std::uint64_t features = 0;
    std::uint32_t queues = 1;
    std::span<const std::byte> config;  // its configuration space
};

class Control {
public:
    /// Opens the node. Throws Error that says what to do when VDUSE is not there or not ours to
    /// use.
    Control();

    /// The device has a node then, /dev/vduse/NAME, and is not on the vDPA bus yet. False when
    /// there is a device of this name.
    [[nodiscard]] bool create(const DeviceDescription& description) const;
    /// Nobody has the node open, and the device is off the vDPA bus.
    void destroy(const std::string& name) const;

private:
    Fd fd_;
};

/// Throws Error unless the kernel, sysfs and a user's shell take it for a name.
void check_name(const std::string& name);

}  // namespace viaduct::vduse
