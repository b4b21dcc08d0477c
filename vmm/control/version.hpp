/// Viaduct's version in the shape of QEMU's, as the greeting and query-version tell it:
/// `{"qemu": {"micro", "minor", "major"}, "package": "viaduct-x.y.z"}`.
#pragma once

#include <boost/json/object.hpp>

namespace viaduct::control {

[[nodiscard]] boost::json::object version();

}  // namespace viaduct::control
