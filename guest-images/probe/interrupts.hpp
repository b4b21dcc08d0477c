// The interrupt descriptor table: exceptions end the run, other vectors are counted and may have a
// handler.
#pragma once

#include <cstdint>

namespace probe::interrupts {

using Handler = void (*)(void* context);

// Loads the table with the 32 exceptions; on every CPU.
void load_table();

// A free vector whose interrupts are counted, acknowledged at the local APIC, and passed to the
// handler.
uint8_t allocate(Handler handler = nullptr, void* context = nullptr);
// The same for a vector of the caller's choice.
void install(uint8_t vector, Handler handler = nullptr, void* context = nullptr);

// Interrupts taken on this vector since it was allocated, over all CPUs.
uint32_t count(uint8_t vector);
// Local APIC id of the CPU that took the last one.
uint32_t last_cpu(uint8_t vector);

}  // namespace probe::interrupts
