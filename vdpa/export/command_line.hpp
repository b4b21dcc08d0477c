/// `viaduct-export`, from its command line to its exit status.
#pragma once

namespace viaduct::vduse {

/// 0, 1 for what went wrong, 2 for wrong usage; both with one line on stderr.
int run(int argc, const char* const* argv) noexcept;

}  // namespace viaduct::vduse
