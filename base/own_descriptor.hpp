/// A descriptor of our own for what stands at one that others share, standard input above all.
#pragma once

#include "base/fd.hpp"

namespace viaduct {

/// `access` is O_RDONLY or O_WRONLY. Where it can be opened anew (a pipe, a terminal) it is
/// non-blocking: the flag on the inherited one would be the shell's and everybody's who shares it.
/// A regular file keeps the shared one, for its position, and a socket has no other. Empty when
/// nothing stands at `fd`.
[[nodiscard]] Fd own_descriptor(int fd, int access);

}  // namespace viaduct
