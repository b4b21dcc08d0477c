#include "firmware/bzimage.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "firmware/linux_zero_page.hpp"

namespace viaduct::firmware {
namespace {

constexpr std::uint64_t header_offset = 0x1f1;
constexpr std::uint16_t oldest_version = 0x20c;
constexpr std::uint64_t sector = 512;
constexpr std::uint64_t entry_64_offset = 0x200;
constexpr std::uint8_t default_setup_sectors = 4;

/// The header ends where the jump at its start says; what follows is the kernel's code, which a
/// clean zero page must not contain.
setup_header read_header(const BootFile& file) {
    auto header = file.read_as<setup_header>("its setup header", header_offset);
    // The two bytes at 0x200 are a short jump over the rest of the header.
    constexpr std::size_t jump_end = offsetof(setup_header, header);
    const std::size_t length = std::min(jump_end + (header.jump >> 8U), sizeof(header));
    std::memset(reinterpret_cast<std::byte*>(&header) + length, 0, sizeof(header) - length);
    return header;
}

void validate(const BootFile& file, const setup_header& header) {
    if (header.version < oldest_version) {
        file.reject("is a bzImage of boot protocol {}.{}; 2.12 or newer is needed (Linux 3.8)",
                    header.version >> 8U, header.version & 0xffU);
    }
    if ((header.loadflags & LOADED_HIGH) == 0) {
        file.reject("is a zImage, which loads below 1 MiB; a bzImage is needed");
    }
    if ((header.xloadflags & XLF_KERNEL_64) == 0) {
        file.reject("is a 32-bit Linux kernel (no XLF_KERNEL_64); an x86-64 one is needed");
    }
    const std::uint32_t alignment = header.kernel_alignment;
    if (header.relocatable_kernel != 0 && !std::has_single_bit(alignment)) {
        file.reject("is damaged: its alignment {:#x} is not a power of two; get a complete copy",
                    alignment);
    }
}

/// The protected-mode part as it stands in the file. It may be longer than the header says, by
/// padding and a Secure Boot signature.
MemoryRange payload_of(const BootFile& file, const setup_header& header) {
    const std::uint64_t sectors =
        header.setup_sects == 0 ? default_setup_sectors : header.setup_sects;
    const std::uint64_t offset = (sectors + 1) * sector;
    const std::uint64_t announced =
        std::max(std::uint64_t{header.syssize} * 16, entry_64_offset + 1);
    if (offset >= file.size() || announced > file.size() - offset) {
        file.reject(
            "is truncated: its header announces {} bytes, the file has {}; get a complete "
            "copy",
            offset + announced, file.size());
    }
    return {Gpa{offset}, file.size() - offset};
}

/// Where it runs. It would move itself to pref_address from anywhere else: a relocatable one from
/// below it, one that is not always.
Gpa load_address(const setup_header& header) {
    const std::uint64_t preferred = header.pref_address;
    if (header.relocatable_kernel == 0) return {preferred};
    const std::uint64_t mask = header.kernel_alignment - 1ULL;
    return {preferred > ~mask ? preferred : (preferred + mask) & ~mask};
}

}  // namespace

bool is_bzimage(const BootFile& file) {
    if (file.size() < header_offset + sizeof(setup_header)) return false;
    const auto header = file.read_as<setup_header>("its setup header", header_offset);
    return header.boot_flag == linux_boot_flag && header.header == linux_header_magic;
}

LoadedKernel load_bzimage(const BootContext& context) {
    const BootFile& file = context.kernel;
    const setup_header header = read_header(file);
    validate(file, header);
    const MemoryRange payload = payload_of(file, header);
    const Gpa address = load_address(header);
    const MemoryRange needed{address, std::max<std::uint64_t>(header.init_size, payload.size)};
    const Gpa command_line = write_command_line(context, header.cmdline_size);

    file.read("the kernel", payload.base.value, kernel_memory(context, needed).first(payload.size));
    const MemoryRange initrd = load_initrd(context, header.initrd_addr_max + 1ULL, needed);
    const Gpa parameters = write_zero_page(context, header, command_line, initrd);
    return {.kind = KernelKind::bzimage,
            .cpu = linux_entry(context.ram, address + entry_64_offset, parameters),
            .kernel = needed,
            .initrd = initrd};
}

}  // namespace viaduct::firmware
