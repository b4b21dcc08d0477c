#include "guest-images/probe/pci.hpp"

#include "guest-images/probe/acpi.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/pages.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::pci {
namespace {

constexpr uint32_t bar_is_io = 0x1;
constexpr uint32_t bar_type_mask = 0x6;
constexpr uint32_t bar_type_64bit = 0x4;
constexpr uint64_t default_window_start = 0xc0000000;
constexpr uint64_t window_end = 0xe0000000;
constexpr uint64_t ecam_bytes_per_bus = 1 << 20;

constinit bool is_ecam_looked_for = false;
constinit uint64_t ecam_base = 0;
constinit uint64_t window_next = 0;

uint16_t bar_offset(unsigned index) {
    return static_cast<uint16_t>(header::bars + 4 * index);
}

uint32_t bar_flags(uint32_t value) {
    return value & ((value & bar_is_io) != 0 ? 0x3 : 0xf);
}

// What the register answers to all ones, flag bits cleared; the register keeps its value.
uint32_t writable_bits(const Function& function, uint16_t offset, uint32_t flag_bits) {
    const auto original = function.read<uint32_t>(offset);
    function.write<uint32_t>(offset, 0xffffffff);
    const uint32_t mask = function.read<uint32_t>(offset) & ~flag_bits;
    function.write<uint32_t>(offset, original);
    return mask;
}

// Behind whatever a VMM or firmware has placed in the window already.
uint64_t end_of_assigned_bars() {
    uint64_t end = default_window_start;
    visit_functions([&end](const Function& function) {
        for (unsigned index = 0; index < bar_count; ++index) {
            const Bar bar = function.bar(index);
            const bool is_inside = bar.address >= default_window_start && bar.address < window_end;
            if (is_inside && bar.address + bar.size > end) end = bar.address + bar.size;
            if (bar.is_64bit) ++index;
        }
    });
    return end;
}

}  // namespace

void ports::select(Address address, uint16_t offset) {
    out<uint32_t>(address_port, enable | uint32_t{address.device} << 11 |
                                    uint32_t{address.function} << 8 | (offset & 0xfcU));
}

bool ecam::is_available() {
    if (!is_ecam_looked_for) {
        is_ecam_looked_for = true;
        const acpi::Header* table = acpi::find_table("MCFG");
        if (table != nullptr) {
            ecam_base = reinterpret_cast<const acpi::Mcfg*>(table)->base;
            if (ecam_base >> 32 != 0) map_identity(ecam_base, ecam_bytes_per_bus);
        }
    }
    return ecam_base != 0;
}

uint64_t ecam::window(Address address, uint16_t offset) {
    CHECK(is_available(), "no MCFG table");
    return ecam_base + (uint64_t{address.device} << 15 | uint64_t{address.function} << 12 | offset);
}

void Function::enable(uint16_t command_bits) const {
    write<uint16_t>(header::command,
                    static_cast<uint16_t>(read<uint16_t>(header::command) | command_bits));
}

void Function::disable(uint16_t command_bits) const {
    write<uint16_t>(header::command,
                    static_cast<uint16_t>(read<uint16_t>(header::command) & ~command_bits));
}

uint64_t Function::bar_address(unsigned index) const {
    const auto low = read<uint32_t>(bar_offset(index));
    const uint64_t address = low & ~bar_flags(low);
    if ((low & (bar_is_io | bar_type_mask)) != bar_type_64bit) return address;
    return address | uint64_t{read<uint32_t>(bar_offset(index + 1))} << 32;
}

Bar Function::bar(unsigned index) const {
    const uint16_t offset = bar_offset(index);
    const auto command_before = read<uint16_t>(header::command);
    disable(command::memory | command::io);
    const auto low = read<uint32_t>(offset);
    const uint32_t flags = bar_flags(low);
    Bar bar{};
    bar.is_io = (flags & bar_is_io) != 0;
    bar.is_64bit = !bar.is_io && (flags & bar_type_mask) == bar_type_64bit;
    bar.address = bar_address(index);
    uint64_t mask = writable_bits(*this, offset, bar.is_io ? 0x3 : 0xf);
    if (bar.is_64bit) {
        mask |= uint64_t{writable_bits(*this, bar_offset(index + 1), 0)} << 32;
    } else if (mask != 0) {
        mask |= 0xffffffff00000000;
    }
    bar.size = ~mask + 1;
    write<uint16_t>(header::command, command_before);
    return bar;
}

void Function::set_bar(unsigned index, uint64_t address) const {
    const uint16_t offset = bar_offset(index);
    const bool is_64bit = (read<uint32_t>(offset) & bar_type_mask) == bar_type_64bit;
    write<uint32_t>(offset, static_cast<uint32_t>(address));
    if (is_64bit) {
        write<uint32_t>(static_cast<uint16_t>(offset + 4), static_cast<uint32_t>(address >> 32));
    }
    if (address >> 32 != 0) map_identity(address, 1);
}

void Function::assign_bars() const {
    for (unsigned index = 0; index < bar_count; ++index) {
        const Bar found = bar(index);
        if (found.size != 0 && !found.is_io) {
            if (found.address == 0) set_bar(index, allocate_window(found.size));
            if (found.address >> 32 != 0) map_identity(found.address, found.size);
        }
        if (found.is_64bit) ++index;
    }
    enable(command::memory | command::bus_master);
}

uint16_t Function::find_capability(uint8_t id, uint16_t after) const {
    if ((read<uint16_t>(header::status) & status::capabilities) == 0) return 0;
    uint16_t at = after == 0 ? uint16_t{header::capabilities} : static_cast<uint16_t>(after + 1);
    constexpr int most_capabilities = 48;
    for (int i = 0; i < most_capabilities; ++i) {
        at = read<uint8_t>(at) & 0xfc;
        if (at == 0 || read<uint8_t>(at) == id) return at;
        ++at;
    }
    FAIL("the capability list has a loop");
}

uint64_t allocate_window(uint64_t size) {
    if (window_next == 0) window_next = option_number("window", end_of_assigned_bars());
    const uint64_t start = (window_next + size - 1) & ~(size - 1);
    CHECK(start + size <= window_end || !option("window").empty(), "window full: ", hex(size));
    window_next = start + size;
    return start;
}

}  // namespace probe::pci
