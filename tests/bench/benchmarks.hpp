/// The benchmarks by name. Each measures, and says what it found; it throws Error when it cannot.
#pragma once

#include "tests/bench/report.hpp"

namespace viaduct::bench {

/// From exec to the guest's first output and to the end, and the VMM's own memory: beside QEMU.
Report start(unsigned runs);

/// What reads from kernel devices cost the VMM: nothing. For the lab.
Report fast();

}  // namespace viaduct::bench
