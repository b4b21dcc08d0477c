/// What an ELF kernel says of itself: where its segments go and where it is entered (ELF-64 object
/// file format 1.5; for the note, Xen's public/elfnote.h and docs/misc/pvh.pandoc). Headers and
/// notes are checked against the file, segments when they are read; nothing is checked against the
/// guest.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "firmware/boot_file.hpp"

namespace viaduct::firmware {

/// A PT_LOAD program header of either class.
struct ElfSegment {
    std::uint64_t file_offset = 0;
    std::uint64_t file_size = 0;
    std::uint64_t gpa = 0;
    std::uint64_t memory_size = 0;
};

struct ElfImage {
    bool is_64_bit = false;
    std::uint64_t entry = 0;
    std::vector<ElfSegment> loads;  // at least one
    /// XEN_ELFNOTE_PHYS32_ENTRY; every 32-bit image has it.
    std::optional<std::uint64_t> pvh_entry;
};

[[nodiscard]] bool is_elf(const BootFile& file);

/// Throws Error for an image that is damaged, truncated or not for x86.
[[nodiscard]] ElfImage parse_elf(const BootFile& file);

}  // namespace viaduct::firmware
