#include "firmware/kernel.hpp"

#include <algorithm>
#include <array>

#include "firmware/boot_context.hpp"
#include "firmware/bzimage.hpp"
#include "firmware/elf_image.hpp"
#include "firmware/elf_kernel.hpp"

namespace viaduct::firmware {
namespace {

/// Other things that people give as kernels, by how they begin, and what to do about each.
struct Lookalike {
    std::string_view beginning;
    const char* text;
};

constexpr std::array lookalikes{
    Lookalike{"\x1f\x8b", "is gzip-compressed; unpack it first"},
    Lookalike{"\xfd"
              "7zXZ",
              "is xz-compressed; unpack it first"},
    Lookalike{"\x28\xb5\x2f\xfd", "is zstd-compressed; unpack it first"},
    Lookalike{"07070", "is a cpio archive; it belongs to --initrd"},
    Lookalike{"!<arch>", "is an archive or a Debian package; give the kernel inside it"},
};

[[noreturn]] void reject_unrecognised(const BootFile& file) {
    std::array<std::byte, 8> first{};
    const std::size_t length = std::min<std::uint64_t>(file.size(), first.size());
    file.read("its beginning", 0, std::span(first).first(length));
    const std::string_view beginning(reinterpret_cast<const char*>(first.data()), length);
    for (const Lookalike& lookalike : lookalikes) {
        if (beginning.starts_with(lookalike.beginning)) file.reject("{}", lookalike.text);
    }
    std::string hex;
    for (const std::byte byte : std::span(first).first(length)) {
        hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    file.reject(
        "is neither a bzImage nor an ELF image (it begins with {}); give a Linux vmlinuz for "
        "x86-64, a vmlinux, or an ELF with a PVH note",
        hex);
}

}  // namespace

LoadedKernel load_kernel(const BootRequest& request, const X86Layout& layout,
                         const AddressSpace& ram) {
    const BootFile file("kernel", request.kernel);
    const BootContext context{request, layout, ram, file};
    if (is_elf(file)) return load_elf(context);
    if (is_bzimage(file)) return load_bzimage(context);
    reject_unrecognised(file);
}

}  // namespace viaduct::firmware
