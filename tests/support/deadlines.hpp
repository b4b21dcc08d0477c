/// What a test demands of time: that an answer comes so soon, that a rate is so exact. A program
/// with a sanitizer on an emulated machine has no time to keep it, and its figures mean nothing: it
/// is run with $VIADUCT_NO_DEADLINES set (tests/whole.cmake), and all else is checked.
#pragma once

#include <string>

namespace viaduct::test {

/// `kept`; with $VIADUCT_NO_DEADLINES always true, and the figures of what was not kept are
/// printed.
[[nodiscard]] bool keeps_deadline(bool kept, const std::string& figures);

}  // namespace viaduct::test
