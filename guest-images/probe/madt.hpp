// The MADT's entries: CPUs, I/O APIC, interrupt overrides (ACPI 6.4, 5.2.12).
#pragma once

#include <cstddef>
#include <cstdint>

namespace probe::madt {

inline constexpr size_t most_cpus = 255;

struct CpuList {
    uint32_t apic_ids[most_cpus];
    size_t count;
};
// Enabled processors, local APIC and local x2APIC entries.
CpuList cpus();

struct IoApic {
    uint64_t address;
    uint32_t gsi_base;
    size_t count;
};
IoApic io_apic();

struct IsaInterrupt {
    uint32_t gsi;
    bool is_level;
    bool is_active_low;
};
// After overrides; without one, the ISA default (edge, active-high, GSI = IRQ).
IsaInterrupt isa_interrupt(uint8_t irq);
// The override that names this GSI, if there is one.
bool find_override_of_gsi(uint32_t gsi, IsaInterrupt& found);

}  // namespace probe::madt
