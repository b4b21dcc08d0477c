#include "firmware/cpu_entry.hpp"

#include <array>

#include "firmware/guest_ram.hpp"

namespace viaduct::firmware {
namespace {

// Linux's 64-bit boot protocol wants __BOOT_CS = 0x10 and __BOOT_DS = 0x18; PVH leaves them open.
constexpr std::uint16_t code_selector = 0x10;
constexpr std::uint16_t data_selector = 0x18;
constexpr std::uint16_t task_selector = 0x20;

constexpr std::uint8_t type_data_read_write = 3;     // accessed
constexpr std::uint8_t type_code_execute_read = 11;  // accessed
constexpr std::uint8_t type_busy_task_state = 11;
constexpr std::uint32_t smallest_task_state_limit = 0x67;

// A 64-bit task descriptor takes two slots (Intel SDM vol. 3, 8.2.3).
using Gdt = std::array<std::uint64_t, 6>;

constexpr Segment data_segment{.selector = data_selector,
                               .limit = 0xffff'ffff,
                               .type = type_data_read_write,
                               .default_32 = true,
                               .granular = true};
constexpr Segment task_segment{.selector = task_selector,
                               .limit = smallest_task_state_limit,
                               .type = type_busy_task_state,
                               .code_or_data = false};

constexpr Segment code_segment(bool is_64_bit) {
    return {.selector = code_selector,
            .limit = 0xffff'ffff,
            .type = type_code_execute_read,
            .default_32 = !is_64_bit,
            .long_mode = is_64_bit,
            .granular = true};
}

// Intel SDM vol. 3, 3.4.5. The task descriptor is stored as available (type 9), so that a guest may
// load it itself; the register holds the busy one.
constexpr std::uint64_t descriptor(const Segment& segment) {
    const std::uint64_t limit = segment.granular ? segment.limit >> 12 : segment.limit;
    const std::uint64_t type = segment.code_or_data ? segment.type : segment.type & ~2U;
    constexpr std::uint64_t present = 1ULL << 47;
    return (limit & 0xffff) | (limit >> 16) << 48 | type << 40 |
           std::uint64_t{segment.code_or_data} << 44 | present |
           std::uint64_t{segment.long_mode} << 53 | std::uint64_t{segment.default_32} << 54 |
           std::uint64_t{segment.granular} << 55;
}

CpuEntry entry_with_segments(const AddressSpace& ram, EntryMode mode) {
    CpuEntry entry{.mode = mode,
                   .rip = {},
                   .code = code_segment(mode == EntryMode::long64_linux),
                   .data = data_segment,
                   .task = task_segment,
                   .gdt = boot_gdt.base,
                   .gdt_limit = sizeof(Gdt) - 1,
                   .page_tables = {}};
    Gdt gdt{};
    for (const Segment& segment : {entry.code, entry.data, entry.task}) {
        gdt.at(segment.selector / sizeof(std::uint64_t)) = descriptor(segment);
    }
    store(ram, boot_gdt.base, gdt, "the boot GDT");
    return entry;
}

void write_identity_map(const AddressSpace& ram) {
    constexpr std::uint64_t present_writable = 3;
    constexpr std::uint64_t large_page = 1 << 7;
    constexpr std::uint64_t entries = page_size / sizeof(std::uint64_t);
    constexpr std::uint64_t directories = 4;
    using Table = std::array<std::uint64_t, entries>;
    constexpr std::uint64_t pml4 = boot_page_tables.base.value;
    constexpr std::uint64_t pointers = pml4 + page_size;
    constexpr std::uint64_t first_directory = pointers + page_size;
    static_assert(first_directory + directories * page_size == boot_page_tables.end());

    store(ram, Gpa{pml4}, Table{pointers | present_writable}, "the boot page tables");
    Table pointer_table{};
    for (std::uint64_t directory = 0; directory < directories; ++directory) {
        const std::uint64_t address = first_directory + directory * page_size;
        pointer_table.at(directory) = address | present_writable;
        Table table{};
        for (std::uint64_t i = 0; i < entries; ++i) {
            table.at(i) = (directory * gib + i * 2 * mib) | large_page | present_writable;
        }
        store(ram, Gpa{address}, table, "the boot page tables");
    }
    store(ram, Gpa{pointers}, pointer_table, "the boot page tables");
}

}  // namespace

CpuEntry pvh_entry(const AddressSpace& ram, Gpa rip, Gpa start_info) {
    CpuEntry entry = entry_with_segments(ram, EntryMode::protected32_pvh);
    entry.rip = rip;
    entry.rbx = start_info.value;
    return entry;
}

CpuEntry linux_entry(const AddressSpace& ram, Gpa rip, Gpa zero_page_address) {
    CpuEntry entry = entry_with_segments(ram, EntryMode::long64_linux);
    write_identity_map(ram);
    entry.rip = rip;
    entry.rsi = zero_page_address.value;
    entry.page_tables = boot_page_tables.base;
    return entry;
}

}  // namespace viaduct::firmware
