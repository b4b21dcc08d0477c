/// What a kernel entered by PVH is told: struct hvm_start_info, version 1, with its module list and
/// memory map (Xen, xen/include/public/arch-x86/hvm/start_info.h, whose field names these are). All
/// little endian, all addresses guest physical.
#pragma once

#include <cstdint>

#include "firmware/boot_context.hpp"

namespace viaduct::firmware {

inline constexpr std::uint32_t pvh_magic = 0x336e'c578;

struct HvmStartInfo {
    std::uint32_t magic = pvh_magic;
    std::uint32_t version = 1;
    std::uint32_t flags = 0;
    std::uint32_t nr_modules = 0;
    std::uint64_t modlist_paddr = 0;
    std::uint64_t cmdline_paddr = 0;
    std::uint64_t rsdp_paddr = 0;
    std::uint64_t memmap_paddr = 0;
    std::uint32_t memmap_entries = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmStartInfo) == 56);

struct HvmModlistEntry {
    std::uint64_t paddr = 0;
    std::uint64_t size = 0;
    std::uint64_t cmdline_paddr = 0;
    std::uint64_t reserved = 0;
};
static_assert(sizeof(HvmModlistEntry) == 32);

struct HvmMemmapTableEntry {
    std::uint64_t addr = 0;
    std::uint64_t size = 0;
    std::uint32_t type = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmMemmapTableEntry) == 24);

/// Writes all three into pvh_start_area and returns the address for RBX. The initrd is module 0.
[[nodiscard]] Gpa write_pvh_start_info(const BootContext& context, Gpa command_line,
                                       const MemoryRange& initrd);

}  // namespace viaduct::firmware
