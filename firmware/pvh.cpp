#include "firmware/pvh.hpp"

#include <vector>

#include "base/error.hpp"
#include "firmware/guest_ram.hpp"

namespace viaduct::firmware {

Gpa write_pvh_start_info(const BootContext& context, Gpa command_line, const MemoryRange& initrd) {
    const Gpa module_list = pvh_start_area.base + sizeof(HvmStartInfo);
    const Gpa memory_map = module_list + sizeof(HvmModlistEntry);

    std::vector<HvmMemmapTableEntry> entries;
    for (const MemoryMapEntry& entry : context.layout.memory_map()) {
        entries.push_back({.addr = entry.range.base.value,
                           .size = entry.range.size,
                           .type = static_cast<std::uint32_t>(entry.type)});
    }
    const auto bytes = std::as_bytes(std::span(entries));
    if (memory_map.value + bytes.size() > pvh_start_area.end()) {
        throw Error(
            "the guest's memory map has {} entries, more than PVH's start page holds; use "
            "fewer memory regions",
            entries.size());
    }
    const bool has_module = initrd.size != 0;
    const HvmStartInfo start_info{
        .nr_modules = has_module ? 1U : 0U,
        .modlist_paddr = has_module ? module_list.value : 0,
        .cmdline_paddr = command_line.value,
        .rsdp_paddr = context.request.rsdp.value,
        .memmap_paddr = memory_map.value,
        .memmap_entries = static_cast<std::uint32_t>(entries.size()),
    };
    store(context.ram, pvh_start_area.base, start_info, "the PVH start info");
    store(context.ram, module_list,
          HvmModlistEntry{.paddr = initrd.base.value, .size = initrd.size}, "the PVH module list");
    store_bytes(context.ram, memory_map, bytes, "the PVH memory map");
    return pvh_start_area.base;
}

}  // namespace viaduct::firmware
