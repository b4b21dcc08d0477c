#include <array>

#include "firmware/bzimage.hpp"
#include "firmware/linux_zero_page.hpp"
#include "tests/unit/firmware_fixture.hpp"

namespace viaduct::firmware {
namespace {

using testing::Each;
using testing::HasSubstr;

class BzImage : public FirmwareFiles {
protected:
    BootRequest request_for(const setup_header& header) const {
        return {.kernel = write("vmlinuz", bzimage(header))};
    }
    std::string rejection_of(const setup_header& header, std::uint64_t memory = 64 * mib) const {
        return error_of(request_for(header), GuestMemory(memory));
    }
    /// Loads a good kernel with an initrd of `size` bytes.
    LoadedKernel load_with_initrd(const GuestMemory& guest, std::size_t size,
                                  const setup_header& header = valid_setup_header()) const {
        BootRequest request = request_for(header);
        request.initrd = write("initrd", Content(size, std::byte{0x77}));
        return load_kernel(request, guest.layout, guest.space);
    }

    setup_header header_ = valid_setup_header();
};

TEST_F(BzImage, EntersThe64BitEntryPointAtThePreferredAddress) {
    const GuestMemory guest(64 * mib);
    const LoadedKernel loaded = load_kernel(request_for(header_), guest.layout, guest.space);
    EXPECT_EQ(loaded.kind, KernelKind::bzimage);
    EXPECT_EQ(loaded.cpu.mode, EntryMode::long64_linux);
    EXPECT_EQ(loaded.cpu.rip, Gpa{preferred_address + 0x200});
    EXPECT_EQ(loaded.kernel, (MemoryRange{Gpa{preferred_address}, 8 * mib}));
    EXPECT_EQ(loaded.initrd.size, 0U);
    EXPECT_THAT(guest.bytes().subspan(preferred_address, 4096), Each(std::byte{0x5a}));
    EXPECT_EQ(guest.read<std::uint8_t>(preferred_address + 4096), 0U);
}

TEST_F(BzImage, TellsTheKernelItsCommandLineMemoryAndTables) {
    const GuestMemory guest(64 * mib);
    BootRequest request = request_for(header_);
    request.command_line = "console=ttyS0 quiet";
    request.rsdp = Gpa{0xe'0000};
    (void)load_kernel(request, guest.layout, guest.space);
    const auto params = guest.read<boot_params>(zero_page.base.value);
    EXPECT_EQ(guest.text(params.hdr.cmd_line_ptr), "console=ttyS0 quiet");
    EXPECT_EQ(std::uint64_t{params.acpi_rsdp_addr}, 0xe'0000U);
    EXPECT_EQ(params.hdr.type_of_loader, 0xff);
    EXPECT_EQ(std::uint32_t{params.hdr.init_size}, 8 * mib);
    ASSERT_EQ(params.e820_entries, 6);
    EXPECT_EQ(std::uint64_t{params.e820_table[3].addr}, 1 * mib);
    EXPECT_EQ(std::uint64_t{params.e820_table[3].size}, 63 * mib);
    EXPECT_EQ(std::uint32_t{params.e820_table[3].type}, 1U);
}

TEST_F(BzImage, CopiesTheSetupHeaderOnlyAndNotWhatStandsAroundIt) {
    const GuestMemory guest(64 * mib);
    header_.jump = 0x62eb;  // an older, shorter header: ends before init_size's end
    header_.kernel_info_offset = 0xdead;
    (void)load_kernel(request_for(header_), guest.layout, guest.space);
    const auto params = guest.read<boot_params>(zero_page.base.value);
    EXPECT_EQ(params.sentinel, 0);
    EXPECT_EQ(std::uint32_t{params.hdr.kernel_info_offset}, 0U);
    EXPECT_EQ(std::uint32_t{params.hdr.handover_offset}, 0U);
}

TEST_F(BzImage, AlignsTheLoadAddressOfARelocatableKernelOnly) {
    const GuestMemory guest(64 * mib);
    header_.pref_address = preferred_address + 0x1000;
    EXPECT_EQ(load_kernel(request_for(header_), guest.layout, guest.space).kernel.base,
              Gpa{preferred_address + 2 * mib});
    header_.relocatable_kernel = 0;
    EXPECT_EQ(load_kernel(request_for(header_), guest.layout, guest.space).kernel.base,
              Gpa{preferred_address + 0x1000});
}

TEST_F(BzImage, TakesZeroSetupSectorsAsFour) {
    const GuestMemory guest(64 * mib);
    header_.setup_sects = 0;
    header_.syssize = 0;
    (void)load_kernel(request_for(header_), guest.layout, guest.space);
    constexpr std::uint64_t left = 1024 + 4096 - 5 * 512;
    EXPECT_EQ(guest.read<std::uint8_t>(preferred_address + left - 1), 0x5a);
    EXPECT_EQ(guest.read<std::uint8_t>(preferred_address + left), 0);
}

TEST_F(BzImage, PutsTheInitrdAtTheTopOfMemory) {
    const GuestMemory guest(64 * mib);
    const LoadedKernel loaded = load_with_initrd(guest, 5000);
    EXPECT_EQ(loaded.initrd, (MemoryRange{Gpa{64 * mib - 8192}, 5000}));
    EXPECT_EQ(guest.read<std::uint8_t>(64 * mib - 8192 + 4999), 0x77);
    const auto params = guest.read<boot_params>(zero_page.base.value);
    EXPECT_EQ(std::uint32_t{params.hdr.ramdisk_image}, 64 * mib - 8192);
    EXPECT_EQ(std::uint32_t{params.hdr.ramdisk_size}, 5000U);
}

TEST_F(BzImage, PutsTheInitrdBelowTheKernelsLimitAndBelowTheHole) {
    const GuestMemory guest(8 * gib);
    EXPECT_EQ(load_with_initrd(guest, 4096).initrd.base, Gpa{2 * gib - 4096});
    header_.initrd_addr_max = 0xffff'ffff;
    EXPECT_EQ(load_with_initrd(guest, 4096, header_).initrd.base, Gpa{3 * gib - 4096});
}

TEST_F(BzImage, FillsTheGapUpToTheKernelWithAnInitrdAndNotAByteMore) {
    const GuestMemory guest(32 * mib);
    EXPECT_EQ(load_with_initrd(guest, 8 * mib).initrd.base, Gpa{24 * mib});
    EXPECT_THAT(refusal_of([&] { (void)load_with_initrd(guest, 8 * mib + 1); }),
                HasSubstr("has 8388609 bytes and does not fit between the kernel's end at "
                          "0x1800000 and 0x2000000, where initrds must end; give more --memory"));
    EXPECT_THAT(refusal_of([&] { (void)load_with_initrd(guest, 33 * mib); }),
                HasSubstr("does not fit"));
}

TEST_F(BzImage, RefusesAMissingOrEmptyInitrd) {
    const GuestMemory guest(64 * mib);
    BootRequest request = request_for(header_);
    request.initrd = path("nowhere");
    EXPECT_EQ(error_of(request, guest),
              "initrd '" + path("nowhere") +
                  "' cannot be opened: No such file or directory; check the path");
    request.initrd = write("nothing", Content{});
    EXPECT_THAT(error_of(request, guest), HasSubstr("nothing' is empty; give a complete file"));
}

TEST_F(BzImage, RefusesAnOldProtocol) {
    header_.version = 0x20b;
    EXPECT_THAT(rejection_of(header_), HasSubstr("is a bzImage of boot protocol 2.11; 2.12 or "
                                                 "newer is needed"));
}

TEST_F(BzImage, RefusesAZImage) {
    header_.loadflags = 0;
    EXPECT_THAT(rejection_of(header_), HasSubstr("is a zImage"));
}

TEST_F(BzImage, RefusesA32BitKernel) {
    header_.xloadflags = 0;
    EXPECT_THAT(rejection_of(header_), HasSubstr("is a 32-bit Linux kernel (no XLF_KERNEL_64); an "
                                                 "x86-64 one is needed"));
}

TEST_F(BzImage, RefusesAnImpossibleAlignment) {
    for (const std::uint32_t alignment : {0U, 3U}) {
        header_.kernel_alignment = alignment;
        EXPECT_THAT(rejection_of(header_), HasSubstr("is not a power of two"));
    }
}

TEST_F(BzImage, RefusesAFileShorterThanItsHeaderSays) {
    header_.syssize = 4096 / 16 + 1;
    EXPECT_THAT(rejection_of(header_),
                HasSubstr("is truncated: its header announces 5136 bytes, the file has 5120; get a "
                          "complete copy"));
    header_.syssize = 0xffff'ffff;
    EXPECT_THAT(rejection_of(header_), HasSubstr("is truncated"));
    header_ = valid_setup_header();
    header_.setup_sects = 255;
    EXPECT_THAT(rejection_of(header_), HasSubstr("is truncated"));
}

TEST_F(BzImage, RefusesAKernelThatNeedsMoreMemoryThanThereIs) {
    EXPECT_NO_THROW((void)load_kernel(request_for(header_), X86Layout(24 * mib, 46),
                                      GuestMemory(24 * mib).space));
    EXPECT_THAT(rejection_of(header_, 20 * mib),
                HasSubstr("needs memory up to 0x1800000, the guest's ends at 0x1400000; give at "
                          "least --memory 24M"));
    header_.init_size = 0xffff'ffff;
    EXPECT_THAT(rejection_of(header_), HasSubstr("kernels must end below 0xc0000000"));
}

TEST_F(BzImage, RefusesImpossibleLoadAddresses) {
    header_.pref_address = 0x8000;
    header_.relocatable_kernel = 0;
    EXPECT_THAT(
        rejection_of(header_),
        HasSubstr("wants to be loaded at 0x8000, 0x800000 bytes, over what it is started with"));
    header_.pref_address = ~0ULL;
    EXPECT_THAT(rejection_of(header_), HasSubstr("wants to be loaded at 0xffffffffffffffff"));
    header_.relocatable_kernel = 1;
    EXPECT_THAT(rejection_of(header_), HasSubstr("wants to be loaded at 0xffffffffffffffff"));
}

TEST_F(BzImage, RefusesACommandLineOverTheKernelsLimit) {
    const GuestMemory guest(64 * mib);
    BootRequest request = request_for(header_);
    request.command_line = std::string(2047, 'x');
    EXPECT_NO_THROW((void)load_kernel(request, guest.layout, guest.space));
    request.command_line += 'x';
    EXPECT_EQ(error_of(request, guest),
              "the kernel command line (--append) has 2048 characters, this kernel takes at most "
              "2047; shorten it");
}

TEST_F(BzImage, KeepsALongCommandLineInsideItsArea) {
    const GuestMemory guest(64 * mib);
    header_.cmdline_size = 0xffff'ffff;
    BootRequest request = request_for(header_);
    request.command_line = std::string(65536, 'x');
    EXPECT_THAT(error_of(request, guest), HasSubstr("takes at most 65535"));
}

TEST_F(BzImage, LoadsAgainIntoUsedMemory) {
    const GuestMemory guest(64 * mib);
    std::ranges::fill(guest.bytes(), std::byte{0xee});
    BootRequest request = request_for(header_);
    request.memory_is_zero = false;
    (void)load_kernel(request, guest.layout, guest.space);
    const auto params = guest.read<boot_params>(zero_page.base.value);
    EXPECT_EQ(params.sentinel, 0);
    EXPECT_EQ(std::uint32_t{params.hdr.ramdisk_size}, 0U);
    EXPECT_EQ(guest.text(params.hdr.cmd_line_ptr), "");
}

TEST(LinuxZeroPage, RefusesMoreMemoryMapEntriesThanItHolds) {
    boot_params params{};
    std::vector<MemoryMapEntry> map(128, {{Gpa{0}, page_size}, MemoryType::ram});
    EXPECT_NO_THROW(fill_e820(params, map));
    EXPECT_EQ(params.e820_entries, 128);
    map.push_back(map.front());
    EXPECT_THAT([&] { fill_e820(params, map); },
                testing::ThrowsMessage<Error>(HasSubstr("has 129 entries, Linux's zero page holds "
                                                        "128")));
}

}  // namespace
}  // namespace viaduct::firmware
