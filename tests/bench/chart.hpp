/// A report as a picture: for each group of series a bar chart (length: median, whisker: least to
/// p99, for one sample out of a thousand would leave no room for the rest), below them the
/// promises.
#pragma once

#include <string>

#include "tests/bench/report.hpp"

namespace viaduct::bench {

/// An SVG document.
std::string draw(const Report& report);

}  // namespace viaduct::bench
