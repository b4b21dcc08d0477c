/// A driver for a vDPA device that holds over a reboot: a rule for udev in /etc/udev/rules.d which,
/// when a device of that name appears, loads the driver, writes driver_override and takes the
/// device from a driver that was faster. As driverctl does for PCI, with nothing to run.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "vdpa/management/roots.hpp"
#include "vdpa/management/vdpa_bus.hpp"

namespace viaduct::management {

/// Where the rule for a device stands.
[[nodiscard]] std::filesystem::path rule_path(const Roots& roots, const std::string& device);
[[nodiscard]] std::string rule_text(const std::string& device, Driver driver);

/// What is kept for the device; nothing when there is no rule.
[[nodiscard]] std::optional<Driver> persistent_driver(const Roots& roots,
                                                      const std::string& device);
/// In the place of what was kept before. Throws Error.
void keep_driver(const Roots& roots, const std::string& device, Driver driver);
/// True when there was a rule. Throws Error.
bool forget_driver(const Roots& roots, const std::string& device);

}  // namespace viaduct::management
