// The CPU's local APIC in x2APIC mode: its id, timer, inter-processor interrupts.
#pragma once

#include <cstdint>

#include "guest-images/probe/clock.hpp"

namespace probe::lapic {

// Vectors at and above this one belong to the local APIC itself (timer, spurious).
inline constexpr uint8_t first_reserved_vector = 0xf0;

// Switches to x2APIC mode and enables it; on every CPU.
void enable();
uint32_t id();
void end_of_interrupt();

// An interrupt after `duration`, and again and again until the timer is disarmed.
void arm_timer(Microseconds duration);
void disarm_timer();
uint64_t measure_tsc_ticks_per_microsecond();

void send(uint32_t destination, uint8_t vector);
void send_to_others(uint8_t vector);
void send_init(uint32_t destination);
// Starts the destination in real mode at page × 4096.
void send_startup(uint32_t destination, uint8_t page);

// Where a device sends an MSI so that it arrives as `vector` at the CPU with this (8-bit) id.
constexpr uint64_t msi_address(uint32_t destination) {
    return 0xfee00000 | destination << 12;
}

}  // namespace probe::lapic
