/// A socket connected to a machine's QMP.
#pragma once

#include <chrono>

#include "base/fd.hpp"
#include "vmm/ctl/address.hpp"

namespace viaduct::ctl {

/// Blocking; connecting and each send take at most `patience`. Throws Error that says what may be
/// wrong with the machine and what to try.
[[nodiscard]] Fd connect(const Address& address, std::chrono::milliseconds patience);

}  // namespace viaduct::ctl
