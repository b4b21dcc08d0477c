/// The events that a QMP client may be told of: what query-qmp-schema and the reference say about
/// them. Whoever emits one (QmpServer::emit) gives it these members.
#pragma once

#include <string_view>
#include <vector>

#include "vmm/control/arguments.hpp"

namespace viaduct::control {

struct Event {
    std::string_view name;
    /// One line, for people.
    std::string_view doc;
    std::vector<Member> members{};
};

/// In the order of their names.
[[nodiscard]] const std::vector<Event>& events();

}  // namespace viaduct::control
