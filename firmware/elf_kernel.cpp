#include "firmware/elf_kernel.hpp"

#include <algorithm>

#include "firmware/elf_image.hpp"
#include "firmware/linux_zero_page.hpp"
#include "firmware/pvh.hpp"

namespace viaduct::firmware {
namespace {

void require_in_image(const BootFile& file, const ElfImage& image, std::uint64_t entry,
                      const char* remedy) {
    const bool inside = std::ranges::any_of(image.loads, [&](const ElfSegment& segment) {
        return MemoryRange{Gpa{segment.gpa}, segment.file_size}.contains(entry);
    });
    if (!inside) {
        file.reject("is entered at {:#x}, which is in none of its segments' physical addresses; {}",
                    entry, remedy);
    }
}

MemoryRange load_segments(const BootContext& context, const ElfImage& image) {
    std::uint64_t first = low_ram_limit;
    std::uint64_t end = 0;
    for (const ElfSegment& segment : image.loads) {
        const MemoryRange range{Gpa{segment.gpa}, segment.memory_size};
        const std::span<std::byte> memory = kernel_memory(context, range);
        context.kernel.read("a segment", segment.file_offset, memory.first(segment.file_size));
        if (!context.request.memory_is_zero) {
            std::ranges::fill(memory.subspan(segment.file_size), std::byte{0});
        }
        first = std::min(first, segment.gpa);
        end = std::max(end, range.end());
    }
    return {Gpa{first}, end - first};
}

/// What a vmlinux would have in its bzImage's header. 2.12 is what Linux's own PVH entry claims.
setup_header made_up_header() {
    setup_header header{};
    header.boot_flag = linux_boot_flag;
    header.header = linux_header_magic;
    header.version = 0x20c;
    header.loadflags = LOADED_HIGH;
    header.cmdline_size = linux_command_line_limit;
    return header;
}

}  // namespace

LoadedKernel load_elf(const BootContext& context) {
    const ElfImage image = parse_elf(context.kernel);
    const Gpa rip{image.pvh_entry.value_or(image.entry)};
    require_in_image(context.kernel, image, rip.value,
                     image.pvh_entry ? "its PVH entry note is wrong"
                                     : "link it with a physical entry point or add a PVH note");
    const Gpa command_line = write_command_line(context, linux_command_line_limit);
    const MemoryRange kernel = load_segments(context, image);
    const MemoryRange initrd = load_initrd(context, low_ram_limit, kernel);
    if (image.pvh_entry) {
        const Gpa start_info = write_pvh_start_info(context, command_line, initrd);
        return {KernelKind::elf_pvh, pvh_entry(context.ram, rip, start_info), kernel, initrd};
    }
    const Gpa parameters = write_zero_page(context, made_up_header(), command_line, initrd);
    return {KernelKind::elf_linux, linux_entry(context.ram, rip, parameters), kernel, initrd};
}

}  // namespace viaduct::firmware
