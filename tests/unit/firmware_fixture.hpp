/// A guest's memory and the files that a guest is started from, for the loader's tests.
#pragma once

#include <elf.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <asm/bootparam.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/address_space.hpp"
#include "base/error.hpp"
#include "base/mapping.hpp"
#include "firmware/kernel.hpp"
#include "tests/support/temporary_directory.hpp"

namespace viaduct::firmware {

using Content = std::vector<std::byte>;

template <typename T>
void put(Content& content, std::size_t offset, const T& value) {
    if (content.size() < offset + sizeof(T)) content.resize(offset + sizeof(T));
    std::memcpy(content.data() + offset, &value, sizeof(T));
}

/// RAM as the machine has it below 4 GiB, zero until written.
class GuestMemory {
public:
    explicit GuestMemory(std::uint64_t memory)
        : layout(memory, 46),
          mapping_("guest memory", layout.low_ram_end(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE) {
        space.map({Iova{0}, mapping_.bytes()});
    }

    template <typename T>
    [[nodiscard]] T read(std::uint64_t gpa) const {
        T value{};
        std::memcpy(&value, mapping_.bytes().subspan(gpa, sizeof(T)).data(), sizeof(T));
        return value;
    }
    [[nodiscard]] std::string text(std::uint64_t gpa) const {
        return reinterpret_cast<const char*>(mapping_.data() + gpa);
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return mapping_.bytes(); }

    X86Layout layout;
    AddressSpace space;

private:
    Mapping mapping_;
};

/// What `action` is refused with; always one line.
inline std::string refusal_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
        return error.what();
    }
    return "no error";
}

class FirmwareFiles : public testing::Test {
protected:
    [[nodiscard]] std::string path(const std::string& name) const { return directory_.path(name); }

    std::string write(const std::string& name, const Content& content) const {
        std::ofstream file(path(name), std::ios::binary);
        file.write(reinterpret_cast<const char*>(content.data()),
                   static_cast<std::streamsize>(content.size()));
        return path(name);
    }
    std::string write(const std::string& name, const std::string& text) const {
        const auto bytes = std::as_bytes(std::span(text));
        return write(name, Content(bytes.begin(), bytes.end()));
    }

    static std::string error_of(const BootRequest& request, const GuestMemory& guest) {
        return refusal_of([&] { (void)load_kernel(request, guest.layout, guest.space); });
    }

private:
    test::TemporaryDirectory directory_;
};

inline constexpr std::uint64_t preferred_address = 16 * mib;

/// The smallest bzImage: a boot sector, one setup sector, and 4 KiB of payload full of 0x5a.
inline setup_header valid_setup_header() {
    setup_header header{};
    header.setup_sects = 1;
    header.syssize = 4096 / 16;
    header.boot_flag = 0xaa55;
    header.jump = 0x6aeb;  // jmp to 0x26c, where the header of today ends
    header.header = 0x5372'6448;
    header.version = 0x20f;
    header.loadflags = LOADED_HIGH;
    header.initrd_addr_max = 0x7fff'ffff;
    header.kernel_alignment = 0x20'0000;
    header.relocatable_kernel = 1;
    header.xloadflags = XLF_KERNEL_64;
    header.cmdline_size = 2047;
    header.pref_address = preferred_address;
    header.init_size = 8 * mib;
    return header;
}

inline Content bzimage(const setup_header& header) {
    Content content(1024 + 4096, std::byte{0x5a});
    std::memset(content.data(), 0xff, 1024);  // the sentinel and code, not for the zero page
    put(content, 0x1f1, header);
    return content;
}

struct ElfParts {
    std::uint16_t machine = EM_X86_64;
    std::uint16_t type = ET_EXEC;
    std::uint64_t entry = 1 * mib + 0x10;
    std::uint64_t address = 1 * mib;
    std::uint64_t memory_size = 0x3000;
    bool has_note = true;
    std::uint32_t note_size = 4;
    std::uint64_t note_entry = 1 * mib + 0x20;
};

inline constexpr std::uint64_t elf_note_offset = 0x200;
inline constexpr std::uint64_t elf_load_offset = 0x1000;
inline constexpr std::uint64_t elf_load_size = 0x1000;

/// An ELF with one loaded segment of 0xa5 and, if wanted, two notes of which the second is PVH's.
template <typename FileHeader, typename ProgramHeader>
Content elf(const ElfParts& parts, unsigned char elf_class) {
    Content content(elf_load_offset + elf_load_size, std::byte{0xa5});
    std::memset(content.data(), 0, elf_load_offset);
    FileHeader header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = elf_class;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = parts.type;
    header.e_machine = parts.machine;
    header.e_entry = static_cast<decltype(header.e_entry)>(parts.entry);
    header.e_phoff = sizeof(header);
    header.e_phentsize = sizeof(ProgramHeader);
    header.e_phnum = 2;
    put(content, 0, header);

    ProgramHeader load{};
    load.p_type = PT_LOAD;
    load.p_offset = elf_load_offset;
    load.p_filesz = elf_load_size;
    load.p_memsz = static_cast<decltype(load.p_memsz)>(parts.memory_size);
    load.p_paddr = static_cast<decltype(load.p_paddr)>(parts.address);
    put(content, sizeof(header), load);

    ProgramHeader note{};
    note.p_type = parts.has_note ? PT_NOTE : PT_NULL;
    note.p_offset = elf_note_offset;
    note.p_filesz = 16 + 4 + 12 + 4 + parts.note_size;
    note.p_align = 4;
    put(content, sizeof(header) + sizeof(load), note);
    put(content, elf_note_offset, Elf64_Nhdr{4, 4, 1});
    put(content, elf_note_offset + 12, std::array{'G', 'N', 'U', '\0'});
    put(content, elf_note_offset + 20, Elf64_Nhdr{4, parts.note_size, 18});
    put(content, elf_note_offset + 32, std::array{'X', 'e', 'n', '\0'});
    put(content, elf_note_offset + 36, parts.note_entry);
    return content;
}

inline Content elf64(const ElfParts& parts) {
    return elf<Elf64_Ehdr, Elf64_Phdr>(parts, ELFCLASS64);
}
inline Content elf32(const ElfParts& parts) {
    return elf<Elf32_Ehdr, Elf32_Phdr>(parts, ELFCLASS32);
}

}  // namespace viaduct::firmware
