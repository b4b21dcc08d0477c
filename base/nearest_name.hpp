/// "did you mean": the known name that is fewest edits away from what an operator typed.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace viaduct {

/// `names` is not empty. Distance is Levenshtein's; the first of equals wins.
std::string_view nearest_name(std::string_view typed, std::span<const std::string_view> names);

}  // namespace viaduct
