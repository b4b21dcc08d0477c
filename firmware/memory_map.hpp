/// Where things stand in an x86-64 guest: physical addresses, legacy ports and interrupt numbers.
/// Everything that must agree between the ACPI tables, the boot protocols, the interrupt routing
/// and the devices has its one definition here (dsdt.asl repeats some of the numbers; a test holds
/// the two together).
///
///     0           low_ram_end()   3 GiB           3.5 GiB   4 GiB       high_ram_end()
///     | RAM ............|           | 32-bit window | ECAM, .. | RAM ..........|  | 64-bit window
///                                                     APICs
///
/// Sizes and addresses are in bytes. Errors: X86Layout's constructor.
#pragma once

#include <cstdint>
#include <vector>

#include "base/address.hpp"

namespace viaduct::firmware {

struct MemoryRange {
    Gpa base;
    std::uint64_t size = 0;

    [[nodiscard]] constexpr std::uint64_t end() const noexcept { return base.value + size; }
    [[nodiscard]] constexpr bool contains(std::uint64_t address) const noexcept {
        return address >= base.value && address - base.value < size;
    }
    [[nodiscard]] constexpr bool overlaps(const MemoryRange& other) const noexcept {
        return base.value < other.end() && other.base.value < end();
    }
    friend bool operator==(const MemoryRange&, const MemoryRange&) = default;
};

inline constexpr std::uint64_t page_size = 4096;
inline constexpr std::uint64_t mib = 1ULL << 20;
inline constexpr std::uint64_t gib = 1ULL << 30;

/// RAM above this continues at 4 GiB: the gigabyte between is for MMIO that must be reachable with
/// 32-bit addresses.
inline constexpr std::uint64_t low_ram_limit = 3 * gib;
inline constexpr std::uint64_t high_ram_base = 4 * gib;

/// 32-bit BARs, 512 MiB.
inline constexpr MemoryRange pci_window_32{{0xc000'0000}, 0x2000'0000};
/// The configuration space of the one bus: 32 slots of 8 functions of 4 KiB.
inline constexpr MemoryRange ecam{{0xe000'0000}, 1 * mib};
inline constexpr MemoryRange io_apic{{0xfec0'0000}, page_size};
inline constexpr MemoryRange local_apic{{0xfee0'0000}, page_size};
/// Four pages that KVM on Intel needs for real mode: KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR.
inline constexpr MemoryRange kvm_identity_map{{0xfffb'c000}, page_size};
inline constexpr MemoryRange kvm_tss{{0xfffb'd000}, 3 * page_size};

/// The first MiB, as PCs have it. RAM stands behind all of it; what is not listed as usable the
/// guest leaves alone.
inline constexpr MemoryRange conventional_memory{{0}, 0x9'fc00};
inline constexpr MemoryRange extended_bios_area{{0x9'fc00}, 0x400};
/// Where a guest looks for the RSDP (ACPI 6.4, 5.2.5.1), and the part of it that the tables have.
inline constexpr MemoryRange bios_area{{0xe'0000}, 0x2'0000};
inline constexpr MemoryRange acpi_area{{0xe'0000}, 0x1'0000};
inline constexpr std::uint64_t extended_memory_base = 1 * mib;

/// What the boot protocols hand over, in conventional memory. The guest may reuse all of it.
inline constexpr MemoryRange boot_gdt{{0x1000}, page_size};
inline constexpr MemoryRange pvh_start_area{{0x6000}, page_size};
inline constexpr MemoryRange zero_page{{0x7000}, page_size};
/// PML4, page directory pointers, four page directories: 4 GiB in 2 MiB pages.
inline constexpr MemoryRange boot_page_tables{{0x9000}, 6 * page_size};
inline constexpr MemoryRange command_line_area{{0x2'0000}, 0x1'0000};
/// All of these; no kernel may be loaded over them.
inline constexpr MemoryRange boot_area{{0}, command_line_area.end()};

/// Fixed-feature power management registers (ACPI 6.4, 4.8.3). SCI_EN is always set, there is no
/// SMI_CMD; PM1a_EN must read back as written. There is no PM timer: guests on KVM have kvmclock
/// and the TSC, and each read would be an exit.
inline constexpr std::uint16_t pm1a_event_port = 0x600;  // STS u16, EN u16
inline constexpr std::uint16_t pm1a_event_length = 4;
inline constexpr std::uint16_t pm1a_control_port = 0x604;  // CNT u16
inline constexpr std::uint16_t pm1a_control_length = 2;
/// SLP_TYP of \_S5: PM1a_CNT = s5_sleep_type << 10 | SLP_EN (1 << 13) is power-off.
inline constexpr std::uint8_t s5_sleep_type = 5;
/// Writing reset_value here resets the machine (FADT RESET_REG, the PCI reset register of PCs).
inline constexpr std::uint16_t reset_port = 0xcf9;
inline constexpr std::uint8_t reset_value = 6;
inline constexpr std::uint16_t serial_port = 0x3f8;
inline constexpr std::uint16_t rtc_port = 0x70;

/// Interrupts. A GSI below 24 is a pin of the IOAPIC.
inline constexpr std::uint32_t timer_gsi = 2;  // ISA interrupt 0, the PIT
inline constexpr std::uint32_t serial_gsi = 4;
inline constexpr std::uint32_t rtc_gsi = 8;
inline constexpr std::uint32_t sci_gsi = 9;
inline constexpr std::uint32_t pci_first_gsi = 16;
inline constexpr std::uint32_t pci_gsi_count = 8;
inline constexpr unsigned pci_slots = 32;
inline constexpr unsigned pci_pins = 4;

/// The GSI of a PCI function's INTx line: `pin` 0 is INTA (the register Interrupt Pin minus one).
/// Neighbouring slots use different lines; eight lines are all that the IOAPIC has left.
[[nodiscard]] constexpr std::uint32_t gsi_of(unsigned slot, unsigned pin) noexcept {
    return pci_first_gsi + (slot + pin) % pci_gsi_count;
}

/// Memory types as e820 and PVH number them (ACPI 6.4, 15.4, table 15.6).
enum class MemoryType : std::uint32_t { ram = 1, reserved = 2 };

struct MemoryMapEntry {
    MemoryRange range;
    MemoryType type = MemoryType::reserved;
    friend bool operator==(const MemoryMapEntry&, const MemoryMapEntry&) = default;
};

/// The RAM of a guest with `memory` bytes: one range, or two when it passes low_ram_limit.
[[nodiscard]] std::vector<MemoryRange> ram_regions(std::uint64_t memory);

/// What depends on the guest's memory and on the width of its physical addresses.
class X86Layout {
public:
    /// `physical_bits`: the guest's CPUID 0x8000'0008 EAX bits 7:0. Throws Error when `memory` is
    /// not whole pages, too small to start anything, or more than the CPU can address.
    X86Layout(std::uint64_t memory, unsigned physical_bits);

    [[nodiscard]] std::uint64_t memory() const noexcept { return memory_; }
    [[nodiscard]] std::vector<MemoryRange> ram() const { return ram_regions(memory_); }
    [[nodiscard]] std::uint64_t low_ram_end() const noexcept;
    /// The first address past all RAM, at least 4 GiB.
    [[nodiscard]] std::uint64_t high_ram_end() const noexcept;
    /// For 64-bit BARs: up to 256 GiB, from the first whole GiB above RAM. Its size is 0 when the
    /// CPU can address nothing above RAM.
    [[nodiscard]] MemoryRange pci_window_64() const noexcept;
    /// What the guest is told of its memory (e820 and PVH): ascending, nothing overlaps.
    [[nodiscard]] std::vector<MemoryMapEntry> memory_map() const;

private:
    std::uint64_t memory_;
    std::uint64_t address_limit_;
};

}  // namespace viaduct::firmware
