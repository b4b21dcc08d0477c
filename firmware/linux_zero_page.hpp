/// Linux's "zero page", struct boot_params: what a kernel entered by the 64-bit boot protocol is
/// told (Linux, Documentation/arch/x86/boot.rst and zero-page.rst).
#pragma once

#include <cstdint>
#include <span>

#include <asm/bootparam.h>

#include "firmware/boot_context.hpp"

namespace viaduct::firmware {

inline constexpr std::uint16_t linux_boot_flag = 0xaa55;
inline constexpr std::uint32_t linux_header_magic = 0x5372'6448;  // "HdrS"

/// Writes the memory map; throws Error when it has more entries than the zero page holds.
void fill_e820(boot_params& params, std::span<const MemoryMapEntry> map);

/// Writes the zero page. `header` is the kernel's own setup header (bzImage) or a made-up one
/// (ELF); what a boot loader fills in is filled in here.
Gpa write_zero_page(const BootContext& context, const setup_header& header, Gpa command_line,
                    const MemoryRange& initrd);

}  // namespace viaduct::firmware
