/// ELF kernels: loaded segment by segment at their physical addresses; entered by PVH when they
/// carry the note for it, otherwise as Linux's startup_64 at the ELF entry point.
#pragma once

#include "firmware/boot_context.hpp"

namespace viaduct::firmware {

[[nodiscard]] LoadedKernel load_elf(const BootContext& context);

}  // namespace viaduct::firmware
