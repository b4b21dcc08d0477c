#include "firmware/boot_context.hpp"

#include <algorithm>

#include "firmware/guest_ram.hpp"

namespace viaduct::firmware {

std::span<std::byte> kernel_memory(const BootContext& context, const MemoryRange& range) {
    const std::uint64_t low_end = context.layout.low_ram_end();
    if (range.size > low_ram_limit || range.base.value > low_ram_limit - range.size) {
        context.kernel.reject(
            "wants to be loaded at {:#x}, {:#x} bytes, but kernels must end below {:#x}; link it "
            "lower",
            range.base.value, range.size, low_ram_limit);
    }
    for (const MemoryRange& taken : {boot_area, acpi_area}) {
        if (!range.overlaps(taken)) continue;
        context.kernel.reject(
            "wants to be loaded at {:#x}, {:#x} bytes, over what it is started with at {:#x} to "
            "{:#x}; link it at 1 MiB or above (an ordinary program is no kernel)",
            range.base.value, range.size, taken.base.value, taken.end() - 1);
    }
    if (range.end() > low_end) {
        context.kernel.reject(
            "needs memory up to {:#x}, the guest's ends at {:#x}; give at least "
            "--memory {}M",
            range.end(), low_end, (range.end() + mib - 1) / mib);
    }
    return bytes_of(context.ram, range, "the kernel");
}

MemoryRange load_initrd(const BootContext& context, std::uint64_t limit,
                        const MemoryRange& kernel) {
    if (context.request.initrd.empty()) return {};
    const BootFile file("initrd", context.request.initrd);
    const std::uint64_t end = std::min(limit, context.layout.low_ram_end());
    const std::uint64_t base = file.size() < end ? (end - file.size()) / page_size * page_size : 0;
    if (base < kernel.end()) {
        file.reject(
            "has {} bytes and does not fit between the kernel's end at {:#x} and {:#x}, "
            "where initrds must end; give more --memory or a smaller initrd",
            file.size(), kernel.end(), end);
    }
    const MemoryRange range{Gpa{base}, file.size()};
    file.read("the initrd", 0, bytes_of(context.ram, range, "the initrd"));
    return range;
}

Gpa write_command_line(const BootContext& context, std::uint64_t limit) {
    const std::string& text = context.request.command_line;
    const std::uint64_t most = std::min(limit, command_line_area.size - 1);
    if (text.size() > most) {
        throw Error(
            "the kernel command line (--append) has {} characters, this kernel takes at "
            "most {}; shorten it",
            text.size(), most);
    }
    store_bytes(context.ram, command_line_area.base,
                std::as_bytes(std::span(text.c_str(), text.size() + 1)), "the command line");
    return command_line_area.base;
}

}  // namespace viaduct::firmware
