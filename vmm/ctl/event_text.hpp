/// An event on a line for people: "12:34:56.789  VDPA_DATAPATH_CHANGED  id=disk0 from=fast
/// to=slow".
#pragma once

#include <string>

#include <boost/json/value.hpp>

namespace viaduct::ctl {

/// Without the line's end. The time is local, as the machine's host stamped it.
[[nodiscard]] std::string event_text(const boost::json::value& event);

}  // namespace viaduct::ctl
