/// What is fuzzed: each target takes any bytes and does with them what somebody hostile could do.
/// Whatever they are, nothing may crash and every invariant must hold; the files of corpus/ are
/// attacks with a name, which the unit tests run too. scripts/fuzz lets libFuzzer look for others.
#pragma once

#include <stdexcept>
#include <string_view>

namespace viaduct::fuzz {

/// An invariant that does not hold.
class Violation : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

inline void require(bool holds, const char* what) {
    if (!holds) throw Violation(what);
}

/// A program of a guest and a device, both hostile, with a relay between them (relay_program.hpp).
void relay(std::string_view bytes);

/// A QMP client's bytes (qmp.cpp).
void qmp(std::string_view bytes);

}  // namespace viaduct::fuzz
