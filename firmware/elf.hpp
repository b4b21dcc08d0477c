/// ELF kernels: loaded segment by segment at their physical addresses and entered by PVH when they
/// carry the note for it, otherwise as Linux's startup_64 (ELF-64 object file format 1.5; Xen,
/// docs/misc/pvh.pandoc and xen/include/public/elfnote.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "firmware/boot_context.hpp"

namespace viaduct::firmware {

/// A program header of either class, checked against the file.
struct ElfSegment {
    std::uint64_t file_offset = 0;
    std::uint64_t file_size = 0;
    std::uint64_t gpa = 0;
    std::uint64_t memory_size = 0;
};

struct ElfImage {
    bool is_64_bit = false;
    std::uint64_t entry = 0;
    std::vector<ElfSegment> loads;
    std::optional<std::uint64_t> pvh_entry;
};

[[nodiscard]] bool is_elf(const BootFile& file);

/// Reads headers and notes only.
[[nodiscard]] ElfImage parse_elf(const BootFile& file);

[[nodiscard]] LoadedKernel load_elf(const BootContext& context);

}  // namespace viaduct::firmware
