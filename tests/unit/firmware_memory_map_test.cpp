#include <gmock/gmock.h>

#include "base/error.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::firmware {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr unsigned bits = 46;

MemoryMapEntry ram(std::uint64_t base, std::uint64_t end) {
    return {{Gpa{base}, end - base}, MemoryType::ram};
}
MemoryMapEntry reserved(std::uint64_t base, std::uint64_t end) {
    return {{Gpa{base}, end - base}, MemoryType::reserved};
}

TEST(MemoryMap, DescribesAGuestThatFitsBelowTheHole) {
    const X86Layout layout(128 * mib, bits);
    EXPECT_THAT(layout.ram(), ElementsAre(MemoryRange{Gpa{0}, 128 * mib}));
    EXPECT_THAT(layout.memory_map(),
                ElementsAre(ram(0, 0x9fc00), reserved(0x9fc00, 0xa0000), reserved(0xe0000, mib),
                            ram(mib, 128 * mib), reserved(0xe000'0000, 0xe010'0000),
                            reserved(0xfffb'c000, 0xfffc'0000)));
}

TEST(MemoryMap, KeepsThreeGibibytesInOnePiece) {
    const X86Layout layout(3 * gib, bits);
    EXPECT_THAT(layout.ram(), ElementsAre(MemoryRange{Gpa{0}, 3 * gib}));
    EXPECT_EQ(layout.high_ram_end(), 4 * gib);
    EXPECT_EQ(layout.memory_map().size(), 6U);
}

TEST(MemoryMap, ContinuesAtFourGibibytesWithTheFirstPageTooMany) {
    const X86Layout layout(3 * gib + page_size, bits);
    EXPECT_THAT(layout.ram(),
                ElementsAre(MemoryRange{Gpa{0}, 3 * gib}, MemoryRange{Gpa{4 * gib}, page_size}));
    EXPECT_EQ(layout.memory_map().back(), ram(4 * gib, 4 * gib + page_size));
}

TEST(MemoryMap, DescribesSixtyFourGibibytes) {
    const X86Layout layout(64 * gib, bits);
    EXPECT_EQ(layout.low_ram_end(), 3 * gib);
    EXPECT_EQ(layout.memory_map().back(), ram(4 * gib, 65 * gib));
}

TEST(MemoryMap, IsAscendingWithoutOverlap) {
    for (const std::uint64_t memory : {2 * mib, 128 * mib, 3 * gib, 64 * gib}) {
        std::uint64_t last = 0;
        for (const MemoryMapEntry& entry : X86Layout(memory, bits).memory_map()) {
            EXPECT_GE(entry.range.base.value, last);
            EXPECT_GT(entry.range.size, 0U);
            last = entry.range.end();
        }
    }
}

TEST(MemoryMap, PutsTheLargePciWindowAboveAllRam) {
    EXPECT_EQ(X86Layout(128 * mib, bits).pci_window_64(), (MemoryRange{Gpa{4 * gib}, 256 * gib}));
    EXPECT_EQ(X86Layout(4 * gib + page_size, bits).pci_window_64(),
              (MemoryRange{Gpa{6 * gib}, 256 * gib}));
}

TEST(MemoryMap, EndsTheLargePciWindowWhereTheCpuStopsAddressing) {
    EXPECT_EQ(X86Layout(8 * gib, 36).pci_window_64(), (MemoryRange{Gpa{9 * gib}, 55 * gib}));
    EXPECT_EQ(X86Layout(1 * gib, 32).pci_window_64().size, 0U);
}

TEST(MemoryMap, RefusesMemoryThatTheCpuCannotReach) {
    EXPECT_THAT([] { (void)X86Layout(64 * gib, 36); },
                ThrowsMessage<Error>("memory of 65536 MiB is more than this CPU's 36 physical "
                                     "address bits can reach; give at most --memory 64512M"));
    EXPECT_NO_THROW((void)X86Layout(63 * gib, 36));
    EXPECT_THAT([] { (void)X86Layout(4 * gib, 32); },
                ThrowsMessage<Error>(HasSubstr("give at most --memory 3072M")));
    EXPECT_THAT([] { (void)X86Layout(~0ULL & ~(page_size - 1), 46); },
                ThrowsMessage<Error>(HasSubstr("46 physical address bits")));
}

TEST(MemoryMap, RefusesMemoryThatIsOddOrTooSmall) {
    EXPECT_THAT([] { (void)X86Layout(64 * mib + 1, bits); },
                ThrowsMessage<Error>(HasSubstr("not a multiple of 4096; give whole pages, say "
                                               "--memory 64M")));
    EXPECT_THAT([] { (void)X86Layout(mib, bits); },
                ThrowsMessage<Error>(HasSubstr("give at least --memory 2M")));
}

TEST(MemoryMap, KeepsTheBootStructuresApartAndInUsableMemory) {
    std::uint64_t last = page_size;  // page 0 stays free for real mode
    for (const MemoryRange& range :
         {boot_gdt, pvh_start_area, zero_page, boot_page_tables, command_line_area}) {
        EXPECT_GE(range.base.value, last);
        last = range.end();
    }
    EXPECT_LE(last, conventional_memory.end());
}

TEST(MemoryMap, GivesNeighbouringSlotsDifferentInterruptLines) {
    EXPECT_EQ(gsi_of(0, 0), 16U);
    EXPECT_EQ(gsi_of(1, 0), 17U);
    EXPECT_EQ(gsi_of(1, 3), 20U);
    EXPECT_EQ(gsi_of(7, 1), 16U);
    for (unsigned slot = 0; slot < pci_slots; ++slot) {
        EXPECT_LT(gsi_of(slot, 3), 24U);
        EXPECT_GE(gsi_of(slot, 0), 16U);
    }
}

}  // namespace
}  // namespace viaduct::firmware
