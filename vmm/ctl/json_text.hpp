/// JSON as `--json` prints it: a member a line, two spaces deeper each level, and an array of plain
/// numbers (a histogram) on one line.
#pragma once

#include <string>

#include <boost/json/value.hpp>

namespace viaduct::ctl {

[[nodiscard]] std::string pretty(const boost::json::value& value);

}  // namespace viaduct::ctl
