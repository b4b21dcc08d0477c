/// How long an answer may take before the machine is given up.
#pragma once

#include <chrono>
#include <string_view>

#include <boost/json/object.hpp>

namespace viaduct::ctl {

/// For all that the machine answers by itself.
inline constexpr std::chrono::milliseconds usual_patience{10'000};
/// For what waits for a device: one behind VDUSE may take 30 s for a single step.
inline constexpr std::chrono::milliseconds patience_with_devices{120'000};

/// For this command; a switch-timeout among its arguments comes on top.
[[nodiscard]] std::chrono::milliseconds patience_for(std::string_view command,
                                                     const boost::json::object& arguments);

}  // namespace viaduct::ctl
