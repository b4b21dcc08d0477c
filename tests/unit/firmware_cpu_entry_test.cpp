#include "firmware/cpu_entry.hpp"
#include "tests/unit/firmware_fixture.hpp"

namespace viaduct::firmware {
namespace {

TEST(CpuEntry, DescribesFlat32BitSegmentsForPvh) {
    const GuestMemory guest(2 * mib);
    const CpuEntry entry = pvh_entry(guest.space, Gpa{0x10'0020}, Gpa{0x6000});
    EXPECT_EQ(entry.mode, EntryMode::protected32_pvh);
    EXPECT_EQ(entry.rip, Gpa{0x10'0020});
    EXPECT_EQ(entry.rbx, 0x6000U);
    EXPECT_EQ(entry.page_tables, Gpa{0});
    EXPECT_TRUE(entry.code.default_32);
    EXPECT_FALSE(entry.code.long_mode);
    EXPECT_EQ(guest.read<std::uint64_t>(boot_gdt.base.value + 0x10), 0x00cf'9b00'0000'ffffU);
    EXPECT_EQ(guest.read<std::uint64_t>(boot_gdt.base.value + 0x18), 0x00cf'9300'0000'ffffU);
}

TEST(CpuEntry, Describes64BitSegmentsForLinux) {
    const GuestMemory guest(2 * mib);
    const CpuEntry entry = linux_entry(guest.space, Gpa{0x100'0200}, zero_page.base);
    EXPECT_EQ(entry.mode, EntryMode::long64_linux);
    EXPECT_EQ(entry.rsi, zero_page.base.value);
    EXPECT_EQ(entry.code.selector, 0x10);
    EXPECT_EQ(entry.data.selector, 0x18);
    EXPECT_EQ(entry.gdt, boot_gdt.base);
    EXPECT_EQ(entry.gdt_limit, 47);
    EXPECT_EQ(guest.read<std::uint64_t>(boot_gdt.base.value), 0U);
    EXPECT_EQ(guest.read<std::uint64_t>(boot_gdt.base.value + 0x10), 0x00af'9b00'0000'ffffU);
    EXPECT_EQ(guest.read<std::uint64_t>(boot_gdt.base.value + 0x18), 0x00cf'9300'0000'ffffU);
    EXPECT_EQ(guest.read<std::uint64_t>(boot_gdt.base.value + 0x20), 0x0000'8900'0000'0067U);
}

/// Walks the tables as the CPU does.
std::uint64_t translate(const GuestMemory& guest, Gpa root, std::uint64_t address) {
    constexpr std::uint64_t frame = 0x000f'ffff'ffff'f000;
    const auto entry = [&](std::uint64_t table, unsigned shift) {
        return guest.read<std::uint64_t>(table + ((address >> shift) & 511) * 8);
    };
    const std::uint64_t pml4e = entry(root.value, 39);
    const std::uint64_t pdpte = entry(pml4e & frame, 30);
    const std::uint64_t pde = entry(pdpte & frame, 21);
    EXPECT_EQ(pml4e & pdpte & pde & 3, 3U) << "present and writable at " << address;
    EXPECT_EQ(pdpte & 0x80, 0U) << "no 1 GiB pages";
    EXPECT_EQ(pde & 0x80, 0x80U) << "2 MiB pages";
    return (pde & frame & ~(2 * mib - 1)) | (address & (2 * mib - 1));
}

TEST(CpuEntry, MapsTheFirstFourGibibytesOntoThemselves) {
    const GuestMemory guest(2 * mib);
    const CpuEntry entry = linux_entry(guest.space, Gpa{0x100'0200}, zero_page.base);
    for (const std::uint64_t address :
         {0UL, 0x7123UL, 0x100'0200UL, gib - 1, gib, 2 * gib + 5, 0xfee0'0020UL, 4 * gib - 1}) {
        EXPECT_EQ(translate(guest, entry.page_tables, address), address);
    }
}

}  // namespace
}  // namespace viaduct::firmware
