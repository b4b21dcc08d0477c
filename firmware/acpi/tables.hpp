/// The ACPI tables of one machine: RSDP, XSDT, FADT (with FACS), MADT, MCFG, the DSDT that every
/// machine shares and an SSDT with what differs: the CPUs and the 64-bit PCI window.
///
/// The machine is not "hardware-reduced": it has a PM1a event and control block, so that a power
/// button press reaches any guest as a fixed event, and it is in ACPI mode from the start.
#pragma once

#include <cstdint>
#include <vector>

#include "base/address_space.hpp"
#include "firmware/acpi/table.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::firmware::acpi {

struct AcpiPlan {
    /// One per vCPU, the APIC id that KVM and CPUID give it. The index is the processor's _UID.
    std::vector<std::uint32_t> apic_ids;
    /// KVM's IOAPIC calls itself 0 until a guest renames it.
    std::uint8_t io_apic_id = 0;
    MemoryRange pci_window_64;
};

struct AcpiTables {
    Bytes bytes;  // for acpi_area.base
    Gpa rsdp;
};

/// Throws Error when there are too many CPUs for acpi_area.
[[nodiscard]] AcpiTables build_acpi(const AcpiPlan& plan);

void write_acpi(const AcpiTables& tables, const AddressSpace& ram);

}  // namespace viaduct::firmware::acpi
