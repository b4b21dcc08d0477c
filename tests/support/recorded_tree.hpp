/// A part of sysfs or procfs as text, a line for each entry, and as a directory again:
///
///     d sys/bus/vdpa/drivers
///     f sys/bus/vdpa/devices/disk/driver_override (null)
///     l sys/bus/vdpa/devices/disk/driver ../../drivers/vhost_vdpa
///
/// Directories above an entry need no line.
#pragma once

#include <filesystem>
#include <string>

namespace viaduct::test {

/// Makes it under `root`. Throws Error for a line that is none of these.
void unpack_tree(const std::string& record, const std::filesystem::path& root);

/// What of this machine's sysfs tells of vDPA devices: the bus, its drivers, and what their devices
/// are.
std::string record_vdpa_sysfs();

}  // namespace viaduct::test
