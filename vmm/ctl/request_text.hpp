/// A QMP request from the words of `viaductctl qmp`.
#pragma once

#include <string>
#include <vector>

#include <boost/json/object.hpp>

namespace viaduct::ctl {

/// Either one word that is a whole request, `{"execute": "query-status"}`, or a command and its
/// arguments, `vdpa-set-datapath id=disk0 mode=slow`: a value that is JSON is taken as that, any
/// other is a string. Throws UsageError.
[[nodiscard]] boost::json::object parse_request(const std::vector<std::string>& words);

}  // namespace viaduct::ctl
