#include "tests/support/deadlines.hpp"

#include <cstdlib>

#include <fmt/core.h>

namespace viaduct::test {

bool keeps_deadline(bool kept, const std::string& figures) {
    if (kept || std::getenv("VIADUCT_NO_DEADLINES") == nullptr) return kept;
    fmt::print("too late, or not exact, which does not count here: {}\n", figures);
    return true;
}

}  // namespace viaduct::test
