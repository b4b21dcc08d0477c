/// The most descriptors that the process may have.
#pragma once

namespace viaduct {

/// Raises the limit as far as this user may (RLIMIT_NOFILE, the soft one to the hard one). Each
/// queue of a device takes several, and the soft limit is low only for select(2), which nothing
/// here calls.
void raise_descriptor_limit() noexcept;

}  // namespace viaduct
