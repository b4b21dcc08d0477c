/// How often a test does what it does again and again: `quick` times, and $VIADUCT_TIMES as often
/// when that is set (`scripts/test --soak`). Throws Error if its value is no number above 0.
#pragma once

namespace viaduct::test {

unsigned repeated(unsigned quick);

}  // namespace viaduct::test
