/// What every boot protocol needs while it loads, and the steps they share.
#pragma once

#include <cstdint>

#include "base/address_space.hpp"
#include "firmware/boot_file.hpp"
#include "firmware/kernel.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::firmware {

struct BootContext {
    const BootRequest& request;
    const X86Layout& layout;
    const AddressSpace& ram;
    const BootFile& kernel;
};

/// The guest memory for a part of the kernel. Rejects the kernel when it would lie over the boot
/// structures or past the end of low memory, and says what would do.
[[nodiscard]] std::span<std::byte> kernel_memory(const BootContext& context,
                                                 const MemoryRange& range);

/// Reads the initrd to the highest page that lets it end at or below `limit`, above the kernel.
/// Returns an empty range when none was asked for.
[[nodiscard]] MemoryRange load_initrd(const BootContext& context, std::uint64_t limit,
                                      const MemoryRange& kernel);

/// Linux's COMMAND_LINE_SIZE on x86 without the final zero: for kernels that do not say what they
/// take, because Linux cuts a longer one without a word.
inline constexpr std::uint64_t linux_command_line_limit = 2047;

/// Writes the command line with its final zero and returns its address.
[[nodiscard]] Gpa write_command_line(const BootContext& context, std::uint64_t limit);

}  // namespace viaduct::firmware
