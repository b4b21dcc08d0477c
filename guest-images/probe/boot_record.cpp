#include "guest-images/probe/boot_record.hpp"

#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/report.hpp"

extern "C" uint64_t start_info_address;
extern "C" uint64_t boot_params_address;

namespace probe {
namespace {

struct HvmStartInfo {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t module_list;
    uint64_t command_line;
    uint64_t rsdp;
    uint64_t memory_map;
    uint32_t memory_map_entries;
    uint32_t reserved;
};
constexpr uint32_t hvm_start_magic = 0x336ec578;

struct HvmMemoryMapEntry {
    uint64_t start;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

// Offsets into boot_params (Linux, Documentation/arch/x86/zero-page.rst).
namespace zero_page {
constexpr uint64_t rsdp_address = 0x070;
constexpr uint64_t extended_command_line_address = 0x0c8;
constexpr uint64_t e820_entries = 0x1e8;
constexpr uint64_t command_line_address = 0x228;
constexpr uint64_t e820_table = 0x2d0;
constexpr uint64_t e820_entry_size = 20;
}  // namespace zero_page

constexpr size_t command_line_capacity = 2048;
constinit char command_line_copy[command_line_capacity]{};
constinit BootRecord record{};

void copy_command_line(uint64_t address) {
    if (address == 0) return;
    const auto* source = at_address<const char>(address);
    size_t size = 0;
    while (size < command_line_capacity && source[size] != '\0') {
        command_line_copy[size] = source[size];
        ++size;
    }
    record.command_line = {command_line_copy, size};
}

void read_start_info(const HvmStartInfo& info) {
    CHECK_EQUAL(info.magic, hvm_start_magic);
    record.protocol = BootProtocol::pvh;
    record.pvh_version = info.version;
    record.rsdp = info.rsdp;
    copy_command_line(info.command_line);
    if (info.version < 1) return;
    const auto* entries = at_address<const HvmMemoryMapEntry>(info.memory_map);
    for (uint32_t i = 0; i < info.memory_map_entries; ++i) {
        record.memory_map.add(
            {entries[i].start, entries[i].size, static_cast<MemoryType>(entries[i].type)});
    }
}

void read_boot_params(uint64_t base) {
    record.protocol = BootProtocol::boot_params;
    record.rsdp = mmio_read<uint64_t>(base + zero_page::rsdp_address);
    const uint64_t low = mmio_read<uint32_t>(base + zero_page::command_line_address);
    const uint64_t high = mmio_read<uint32_t>(base + zero_page::extended_command_line_address);
    copy_command_line(high << 32 | low);
    const auto entries = mmio_read<uint8_t>(base + zero_page::e820_entries);
    for (uint8_t i = 0; i < entries; ++i) {
        const uint64_t entry = base + zero_page::e820_table + i * zero_page::e820_entry_size;
        record.memory_map.add({mmio_read<uint64_t>(entry), mmio_read<uint64_t>(entry + 8),
                               static_cast<MemoryType>(mmio_read<uint32_t>(entry + 16))});
    }
}

}  // namespace

void read_boot_record() {
    if (boot_params_address != 0) {
        read_boot_params(boot_params_address);
    } else {
        read_start_info(*at_address<const HvmStartInfo>(start_info_address));
    }
}

const BootRecord& boot_record() {
    return record;
}

}  // namespace probe
