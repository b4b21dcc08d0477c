/// The host's vDPA devices as `viaductctl devices` shows them, to people and to programs.
#pragma once

#include <string>
#include <vector>

#include <boost/json/object.hpp>

#include "vdpa/management/host_device.hpp"

namespace viaduct::ctl {

/// A line for each, and below what features each has.
[[nodiscard]] std::string host_device_table(const std::vector<management::HostDevice>& devices);
/// All that is known of one.
[[nodiscard]] std::string host_device_properties(const management::HostDevice& device);
[[nodiscard]] boost::json::object json_of(const management::HostDevice& device);

/// What can make devices.
[[nodiscard]] std::string parent_table(const std::vector<management::ManagementDevice>& parents);
[[nodiscard]] boost::json::object json_of(const management::ManagementDevice& parent);

/// "52:54:00:12:34:56"
[[nodiscard]] std::string text_of(const management::MacAddress& mac);

}  // namespace viaduct::ctl
