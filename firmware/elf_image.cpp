#include "firmware/elf_image.hpp"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace viaduct::firmware {
namespace {

constexpr std::uint32_t xen_elfnote_phys32_entry = 18;
constexpr std::string_view xen_note_name{"Xen\0", 4};
// Real kernels have five segments and half a KiB of notes; a file that claims more is no kernel.
constexpr std::uint64_t most_segments = 1024;
constexpr std::uint64_t most_note_bytes = 65536;

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

/// Steps through a note segment. Ends at the first note that does not fit: the rest is not ours to
/// judge.
std::optional<std::uint64_t> find_pvh_note(std::span<const std::byte> notes,
                                           std::uint64_t alignment) {
    std::uint64_t at = 0;
    while (notes.size() - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note{};
        std::memcpy(&note, notes.data() + at, sizeof(note));
        const std::uint64_t name = at + sizeof(note);
        const std::uint64_t description = name + align_up(note.n_namesz, alignment);
        const std::uint64_t end = description + note.n_descsz;
        if (end > notes.size()) return std::nullopt;
        // Linux writes the 32-bit address in 8 bytes, others in 4.
        const bool is_address = note.n_descsz == 4 || note.n_descsz == 8;
        if (note.n_type == xen_elfnote_phys32_entry && is_address &&
            note.n_namesz == xen_note_name.size() &&
            std::memcmp(notes.data() + name, xen_note_name.data(), xen_note_name.size()) == 0) {
            std::uint64_t entry = 0;
            std::memcpy(&entry, notes.data() + description, note.n_descsz);
            return entry;
        }
        at = std::min<std::uint64_t>(align_up(end, alignment), notes.size());
    }
    return std::nullopt;
}

template <typename Header>
std::optional<std::uint64_t> read_note(const BootFile& file, const Header& header) {
    constexpr std::uint64_t wide = 8;
    std::vector<std::byte> notes(std::min<std::uint64_t>(header.p_filesz, most_note_bytes));
    file.read("a note segment", header.p_offset, notes);
    return find_pvh_note(notes, header.p_align == wide ? wide : 4);
}

template <typename Header>
ElfSegment checked_segment(const BootFile& file, const Header& header) {
    const ElfSegment segment{header.p_offset, header.p_filesz, header.p_paddr, header.p_memsz};
    if (segment.file_size > segment.memory_size) {
        file.reject(
            "is damaged: a segment has {:#x} bytes in the file and {:#x} in memory; get a "
            "complete copy",
            segment.file_size, segment.memory_size);
    }
    return segment;
}

template <typename FileHeader, typename Header>
ElfImage parse(const BootFile& file, bool is_64_bit) {
    const auto header = file.read_as<FileHeader>("its ELF header", 0);
    if (header.e_phentsize != sizeof(Header) || header.e_phnum == 0 ||
        header.e_phnum > most_segments) {
        file.reject(
            "has {} program headers of {} bytes; a kernel has 1 to {} of {} (is it an "
            "object file?)",
            header.e_phnum, header.e_phentsize, most_segments, sizeof(Header));
    }
    std::vector<Header> headers(header.e_phnum);
    file.read("its program headers", header.e_phoff, std::as_writable_bytes(std::span(headers)));

    ElfImage image{.is_64_bit = is_64_bit, .entry = header.e_entry, .loads = {}, .pvh_entry = {}};
    for (const Header& program : headers) {
        if (program.p_type == PT_LOAD && program.p_memsz != 0) {
            image.loads.push_back(checked_segment(file, program));
        }
        if (program.p_type == PT_NOTE && !image.pvh_entry) {
            image.pvh_entry = read_note(file, program);
        }
    }
    if (image.loads.empty()) file.reject("has nothing to load; give a linked kernel");
    return image;
}

}  // namespace

bool is_elf(const BootFile& file) {
    if (file.size() < EI_NIDENT) return false;
    const auto ident = file.read_as<std::array<char, SELFMAG>>("its ELF identification", 0);
    return std::memcmp(ident.data(), ELFMAG, SELFMAG) == 0;
}

ElfImage parse_elf(const BootFile& file) {
    // Both classes agree up to e_version; the rest is read once the class is known.
    const auto header = file.read_as<Elf32_Ehdr>("its ELF header", 0);
    const int width = header.e_ident[EI_CLASS];
    const bool is_amd64 = width == ELFCLASS64 && header.e_machine == EM_X86_64;
    const bool is_i386 = width == ELFCLASS32 && header.e_machine == EM_386;
    if (header.e_ident[EI_DATA] != ELFDATA2LSB || (!is_amd64 && !is_i386)) {
        file.reject(
            "is an ELF image for another machine (class {}, byte order {}, machine {}); one "
            "for x86-64 is needed",
            width, int{header.e_ident[EI_DATA]}, header.e_machine);
    }
    if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
        file.reject("is an ELF file of type {}, not an executable; give a linked kernel",
                    header.e_type);
    }
    ElfImage image = is_amd64 ? parse<Elf64_Ehdr, Elf64_Phdr>(file, true)
                              : parse<Elf32_Ehdr, Elf32_Phdr>(file, false);
    if (is_i386 && !image.pvh_entry) {
        file.reject(
            "is a 32-bit ELF image without a PVH entry note (Xen, type {}); add one, or give "
            "an x86-64 kernel",
            xen_elfnote_phys32_entry);
    }
    return image;
}

}  // namespace viaduct::firmware
