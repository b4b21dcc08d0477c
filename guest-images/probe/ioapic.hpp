// The I/O APIC of the MADT: which vector a GSI arrives as.
#pragma once

#include <cstdint>

namespace probe::ioapic {

struct Route {
    uint32_t gsi;
    uint8_t vector;
    uint32_t apic_id;
    bool is_level;
    bool is_active_low;
};

void connect(const Route& route);
void mask(uint32_t gsi);

// Silences the two 8259s, which would deliver the same interrupts a second time.
void silence_legacy_controllers();

}  // namespace probe::ioapic
