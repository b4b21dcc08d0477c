/// Linux's bzImage (Documentation/arch/x86/boot.rst): a real-mode part that is only read for its
/// header, and a protected-mode part with a 64-bit entry point 0x200 bytes into it.
#pragma once

#include "firmware/boot_context.hpp"

namespace viaduct::firmware {

/// Whether the file has the boot sector's 0xaa55 and the header's "HdrS".
[[nodiscard]] bool is_bzimage(const BootFile& file);

[[nodiscard]] LoadedKernel load_bzimage(const BootContext& context);

}  // namespace viaduct::firmware
