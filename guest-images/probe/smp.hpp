// Application processors: started by INIT and SIPI, then given functions to run.
#pragma once

#include <cstddef>
#include <cstdint>

namespace probe::smp {

using Work = void (*)(void* context);

// Starts every CPU the MADT names; answers how many there are, the boot CPU (index 0) included.
size_t start_all();

// Local APIC id of CPU `index`.
uint32_t apic_id(size_t index);

// Runs the function on CPU `index` (not 0) and does not wait for it.
void run(size_t index, Work work, void* context);
// Waits until CPUs 1 to count - 1 are idle again; ends the run after `seconds`.
void wait_all(size_t count, uint64_t seconds);

}  // namespace probe::smp
