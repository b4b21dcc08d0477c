#include "firmware/linux_zero_page.hpp"

#include <iterator>

#include "base/error.hpp"
#include "firmware/guest_ram.hpp"

namespace viaduct::firmware {

void fill_e820(boot_params& params, std::span<const MemoryMapEntry> map) {
    constexpr std::size_t most = std::size(decltype(params.e820_table){});
    if (map.size() > most) {
        throw Error(
            "the guest's memory map has {} entries, Linux's zero page holds {}; use fewer "
            "memory regions",
            map.size(), most);
    }
    params.e820_entries = static_cast<std::uint8_t>(map.size());
    boot_e820_entry* next = std::begin(params.e820_table);
    for (const MemoryMapEntry& entry : map) {
        *next++ = {.addr = entry.range.base.value,
                   .size = entry.range.size,
                   .type = static_cast<std::uint32_t>(entry.type)};
    }
}

Gpa write_zero_page(const BootContext& context, const setup_header& header, Gpa command_line,
                    const MemoryRange& initrd) {
    // boot.rst: a loader without an assigned number.
    constexpr std::uint8_t undefined_loader = 0xff;
    constexpr std::uint16_t video_mode_normal = 0xffff;
    boot_params params{};
    params.hdr = header;
    params.hdr.type_of_loader = undefined_loader;
    params.hdr.vid_mode = video_mode_normal;
    params.hdr.cmd_line_ptr = static_cast<std::uint32_t>(command_line.value);
    params.hdr.ramdisk_image = static_cast<std::uint32_t>(initrd.base.value);
    params.hdr.ramdisk_size = static_cast<std::uint32_t>(initrd.size);
    params.acpi_rsdp_addr = context.request.rsdp.value;
    fill_e820(params, context.layout.memory_map());
    static_assert(sizeof(params) == page_size);
    store(context.ram, zero_page.base, params, "the zero page");
    return zero_page.base;
}

}  // namespace viaduct::firmware
