/// JSON as QEMU writes it on a QMP connection: ", " and ": " between the parts, only ASCII (the
/// rest as \uXXXX), the shortest decimal that reads back as the same double. Scripts that look for
/// `"event": "STOP"` in QEMU's output find it in ours.
#pragma once

#include <string>

#include <boost/json/value.hpp>

namespace viaduct::control {

/// Bytes of a string that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string wire_text(const boost::json::value& value);

}  // namespace viaduct::control
