/// What `viaductctl devices doctor` found, to people and to programs.
#pragma once

#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "vdpa/management/host_checks.hpp"

namespace viaduct::ctl {

/// A line for each, and below it what mends it.
[[nodiscard]] std::string findings_text(const std::vector<management::Finding>& findings);
[[nodiscard]] boost::json::array json_of(const std::vector<management::Finding>& findings);

/// How many must be mended before anything runs.
[[nodiscard]] std::size_t missing(const std::vector<management::Finding>& findings);

}  // namespace viaduct::ctl
