/// How the device of a `--device` is opened: once at start, and again by its guest's reset after it
/// broke. One that was handed over open (fd=) cannot be opened again: its number is gone with it,
/// or somebody else's by then.
#pragma once

#include <vector>

#include "vdpa/datapath/guest_device.hpp"
#include "vmm/config.hpp"

namespace viaduct::vmm {

/// Before the program opens anything: later, a descriptor that nobody has handed over could be one
/// of its own. Throws Error that names it.
void check_handed_over(const std::vector<DeviceConfig>& devices);

[[nodiscard]] datapath::GuestDevice::Open opener_of(const DeviceConfig& device);

}  // namespace viaduct::vmm
