#include <sys/stat.h>

#include "firmware/elf_image.hpp"
#include "firmware/pvh.hpp"
#include "tests/unit/firmware_fixture.hpp"

namespace viaduct::firmware {
namespace {

using testing::Each;
using testing::HasSubstr;

class ElfKernel : public FirmwareFiles {
protected:
    BootRequest request_for(const Content& content) const {
        return {.kernel = write("kernel.elf", content)};
    }
    LoadedKernel load(const Content& content) const {
        return load_kernel(request_for(content), guest_.layout, guest_.space);
    }
    std::string rejection_of(const Content& content) const {
        return error_of(request_for(content), guest_);
    }
    Elf64_Phdr program_header(const Content& content) const {
        Elf64_Phdr header{};
        std::memcpy(&header, content.data() + sizeof(Elf64_Ehdr), sizeof(header));
        return header;
    }

    GuestMemory guest_{32 * mib};
    ElfParts parts_;
};

TEST_F(ElfKernel, IsEnteredByPvhWhenItHasTheNote) {
    const LoadedKernel loaded = load(elf64(parts_));
    EXPECT_EQ(loaded.kind, KernelKind::elf_pvh);
    EXPECT_EQ(loaded.cpu.mode, EntryMode::protected32_pvh);
    EXPECT_EQ(loaded.cpu.rip, Gpa{mib + 0x20});
    EXPECT_EQ(loaded.cpu.rbx, pvh_start_area.base.value);
    EXPECT_EQ(loaded.kernel, (MemoryRange{Gpa{mib}, 0x3000}));
    EXPECT_THAT(guest_.bytes().subspan(mib, elf_load_size), Each(std::byte{0xa5}));
    EXPECT_EQ(guest_.read<std::uint8_t>(mib + elf_load_size), 0U);
}

TEST_F(ElfKernel, MayWriteItsPvhNoteInEightBytes) {
    parts_.note_size = 8;
    EXPECT_EQ(load(elf64(parts_)).cpu.rip, Gpa{mib + 0x20});
}

TEST_F(ElfKernel, MayBeA32BitImageWithThePvhNote) {
    parts_.machine = EM_386;
    const LoadedKernel loaded = load(elf32(parts_));
    EXPECT_EQ(loaded.kind, KernelKind::elf_pvh);
    EXPECT_EQ(loaded.cpu.rip, Gpa{mib + 0x20});
    EXPECT_EQ(guest_.read<std::uint8_t>(mib), 0xa5);
}

TEST_F(ElfKernel, IsTreatedAsLinuxWithoutTheNote) {
    parts_.has_note = false;
    const LoadedKernel loaded = load(elf64(parts_));
    EXPECT_EQ(loaded.kind, KernelKind::elf_linux);
    EXPECT_EQ(loaded.cpu.mode, EntryMode::long64_linux);
    EXPECT_EQ(loaded.cpu.rip, Gpa{mib + 0x10});
    const auto params = guest_.read<boot_params>(zero_page.base.value);
    EXPECT_EQ(std::uint32_t{params.hdr.header}, 0x5372'6448U);
    EXPECT_EQ(params.e820_entries, 6);
}

TEST_F(ElfKernel, IsToldItsCommandLineModulesMemoryAndTablesByPvh) {
    BootRequest request = request_for(elf64(parts_));
    request.command_line = "scenario=boot";
    request.initrd = write("initrd", Content(6000, std::byte{0x33}));
    request.rsdp = Gpa{0xe'0000};
    const LoadedKernel loaded = load_kernel(request, guest_.layout, guest_.space);
    const auto start = guest_.read<HvmStartInfo>(loaded.cpu.rbx);
    EXPECT_EQ(start.magic, 0x336e'c578U);
    EXPECT_EQ(start.version, 1U);
    EXPECT_EQ(guest_.text(start.cmdline_paddr), "scenario=boot");
    EXPECT_EQ(start.rsdp_paddr, 0xe'0000U);
    ASSERT_EQ(start.nr_modules, 1U);
    const auto module = guest_.read<HvmModlistEntry>(start.modlist_paddr);
    EXPECT_EQ(module.paddr, 32 * mib - 8192);
    EXPECT_EQ(module.size, 6000U);
    EXPECT_EQ(guest_.read<std::uint8_t>(module.paddr + 5999), 0x33);
    ASSERT_EQ(start.memmap_entries, 6U);
    const auto ram =
        guest_.read<HvmMemmapTableEntry>(start.memmap_paddr + 3 * sizeof(HvmMemmapTableEntry));
    EXPECT_EQ(ram.addr, mib);
    EXPECT_EQ(ram.size, 31 * mib);
    EXPECT_EQ(ram.type, 1U);
}

TEST_F(ElfKernel, HasNoModuleWithoutAnInitrd) {
    const auto start = guest_.read<HvmStartInfo>(load(elf64(parts_)).cpu.rbx);
    EXPECT_EQ(start.nr_modules, 0U);
    EXPECT_EQ(start.modlist_paddr, 0U);
}

TEST_F(ElfKernel, FindsItsUninitialisedPartZeroedInUsedMemory) {
    std::ranges::fill(guest_.bytes(), std::byte{0xee});
    BootRequest request = request_for(elf64(parts_));
    request.memory_is_zero = false;
    (void)load_kernel(request, guest_.layout, guest_.space);
    EXPECT_THAT(guest_.bytes().subspan(mib + 0x1000, 0x2000), Each(std::byte{0}));
    EXPECT_EQ(guest_.read<std::uint8_t>(mib + 0x3000), 0xee);
}

TEST_F(ElfKernel, MustBeForX86) {
    parts_.machine = EM_AARCH64;
    EXPECT_THAT(rejection_of(elf64(parts_)),
                HasSubstr("is an ELF image for another machine (class 2, byte order 1, machine "
                          "183); one for x86-64 is needed"));
    parts_.machine = EM_X86_64;
    EXPECT_THAT(rejection_of(elf32(parts_)), HasSubstr("for another machine"));
    Content big_endian = elf64(parts_);
    put<char>(big_endian, EI_DATA, ELFDATA2MSB);
    EXPECT_THAT(rejection_of(big_endian), HasSubstr("byte order 2"));
}

TEST_F(ElfKernel, MustHaveThePvhNoteWhenItIs32Bit) {
    parts_.machine = EM_386;
    parts_.has_note = false;
    EXPECT_THAT(rejection_of(elf32(parts_)),
                HasSubstr("32-bit ELF image without a PVH entry note"));
}

TEST_F(ElfKernel, MustBeExecutable) {
    parts_.type = ET_REL;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("is an ELF file of type 1, not an "
                                                       "executable"));
}

TEST_F(ElfKernel, MustHaveProgramHeadersOfTheRightSize) {
    Content content = elf64(parts_);
    put<std::uint16_t>(content, offsetof(Elf64_Ehdr, e_phnum), 0xffff);
    EXPECT_THAT(rejection_of(content), HasSubstr("has 65535 program headers of 56 bytes"));
    content = elf64(parts_);
    put<std::uint16_t>(content, offsetof(Elf64_Ehdr, e_phentsize), 8);
    EXPECT_THAT(rejection_of(content), HasSubstr("has 2 program headers of 8 bytes"));
    content = elf64(parts_);
    put<std::uint64_t>(content, offsetof(Elf64_Ehdr, e_phoff), ~0ULL - 8);
    EXPECT_THAT(rejection_of(content), HasSubstr("is truncated: its program headers"));
}

TEST_F(ElfKernel, MustHaveSomethingToLoad) {
    parts_.memory_size = 0;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("has nothing to load"));
}

TEST_F(ElfKernel, MustHoldAllItsSegments) {
    Content content = elf64(parts_);
    content.resize(content.size() - 1);
    EXPECT_THAT(rejection_of(content), HasSubstr("is truncated: a segment takes 4096 bytes at "
                                                 "offset 4096, the file has 8191; get a complete "
                                                 "copy"));
    content = elf64(parts_);
    Elf64_Phdr load = program_header(content);
    load.p_offset = ~0ULL - 0x10;
    put(content, sizeof(Elf64_Ehdr), load);
    EXPECT_THAT(rejection_of(content), HasSubstr("is truncated"));
    parts_.memory_size = 0xfff;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("is damaged: a segment has 0x1000 bytes in "
                                                       "the file and 0xfff in memory"));
}

TEST_F(ElfKernel, MustHoldItsHeaders) {
    for (const std::size_t size : {16UL, 51UL, 63UL, 100UL}) {
        Content content = elf64(parts_);
        content.resize(size);
        EXPECT_THAT(rejection_of(content), HasSubstr("is truncated")) << size << " bytes";
    }
}

TEST_F(ElfKernel, MustStayClearOfWhatItIsStartedWith) {
    for (const std::uint64_t address : {0x0UL, 0x8000UL, 0x2'f000UL, 0xd'f000UL, 0xe'f000UL}) {
        parts_.address = address;
        parts_.note_entry = address + 0x20;
        EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("over what it is started with"))
            << address;
    }
    parts_.address = 0x8000;
    parts_.note_entry = 0x8020;
    EXPECT_THAT(
        rejection_of(elf64(parts_)),
        HasSubstr("wants to be loaded at 0x8000, 0x3000 bytes, over what it is started with "
                  "at 0x0 to 0x2ffff; link it at 1 MiB or above"));
}

TEST_F(ElfKernel, MayBeLoadedLowWhereNothingElseIs) {
    for (const std::uint64_t address : {0x3'0000UL, 0xf'0000UL, 0xf'f000UL}) {
        parts_.address = address;
        parts_.note_entry = address + 0x20;
        EXPECT_EQ(load(elf64(parts_)).cpu.rip, Gpa{address + 0x20});
    }
}

TEST_F(ElfKernel, MustFitIntoMemory) {
    parts_.memory_size = 40 * mib;
    EXPECT_THAT(rejection_of(elf64(parts_)),
                HasSubstr("needs memory up to 0x2900000, the guest's ends at 0x2000000; give at "
                          "least --memory 41M"));
    parts_.memory_size = ~0ULL;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("kernels must end below 0xc0000000"));
    parts_.memory_size = 0x3000;
    parts_.address = 5 * gib;
    parts_.note_entry = 5 * gib + 0x20;
    parts_.note_size = 8;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("wants to be loaded at 0x140000000"));
}

TEST_F(ElfKernel, MustBeEnteredInsideASegment) {
    parts_.note_entry = 0xcafe;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("is entered at 0xcafe, which is in none of "
                                                       "its segments' physical addresses; its PVH "
                                                       "entry note is wrong"));
    parts_.has_note = false;
    parts_.entry = 0xffff'ffff'8100'0000;
    EXPECT_THAT(rejection_of(elf64(parts_)), HasSubstr("link it with a physical entry point"));
}

TEST_F(ElfKernel, MayHaveDamagedNotesThatAreNotOurs) {
    Content content = elf64(parts_);
    put(content, elf_note_offset, Elf64_Nhdr{0xffff'ffff, 0xffff'ffff, 1});
    EXPECT_EQ(load(content).kind, KernelKind::elf_linux);
    content = elf64(parts_);
    put(content, elf_note_offset + 20, Elf64_Nhdr{4, 5, 18});
    EXPECT_EQ(load(content).kind, KernelKind::elf_linux);
    content = elf64(parts_);
    put<std::uint64_t>(
        content, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_filesz), 36);
    EXPECT_EQ(load(content).kind, KernelKind::elf_linux) << "a note that ends before its address";
}

TEST_F(ElfKernel, RefusesACommandLineThatLinuxWouldCut) {
    BootRequest request = request_for(elf64(parts_));
    request.command_line = std::string(2048, 'x');
    EXPECT_THAT(error_of(request, guest_), HasSubstr("this kernel takes at most 2047"));
}

using KernelFile = ElfKernel;

TEST_F(KernelFile, ThatIsMissingIsRefused) {
    EXPECT_EQ(error_of({.kernel = path("nowhere")}, guest_),
              "kernel '" + path("nowhere") +
                  "' cannot be opened: No such file or directory; check the path");
}

TEST_F(KernelFile, ThatIsADirectoryIsRefused) {
    EXPECT_EQ(error_of({.kernel = path("")}, guest_),
              "kernel '" + path("") + "' is a directory; name the file in it");
}

TEST_F(KernelFile, ThatIsAFifoIsRefusedAndNotWaitedFor) {
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    EXPECT_THAT(error_of({.kernel = path("fifo")}, guest_), HasSubstr("is not a regular file"));
}

TEST_F(KernelFile, ThatIsEmptyIsRefused) {
    EXPECT_THAT(error_of({.kernel = write("empty", Content{})}, guest_),
                HasSubstr("is empty; give a complete file"));
}

TEST_F(KernelFile, OfNeitherKindIsRefusedWithItsBeginning) {
    EXPECT_THAT(rejection_of(Content(4096, std::byte{0x11})),
                HasSubstr("is neither a bzImage nor an ELF image (it begins with "
                          "1111111111111111); give a Linux vmlinuz"));
    EXPECT_THAT(error_of({.kernel = write("tiny", "MZ")}, guest_),
                HasSubstr("(it begins with 4d5a)"));
}

TEST_F(KernelFile, OfAKindThatPeopleMistakeForAKernelIsRefusedWithAHint) {
    EXPECT_THAT(error_of({.kernel = write("gz", "\x1f\x8b....")}, guest_),
                HasSubstr("is gzip-compressed; unpack it first"));
    EXPECT_THAT(error_of({.kernel = write("initrd", "070701....")}, guest_),
                HasSubstr("is a cpio archive; it belongs to --initrd"));
}

}  // namespace
}  // namespace viaduct::firmware
