#include "guest-images/probe/clock.hpp"

#include "guest-images/probe/lapic.hpp"

namespace probe {
namespace {

constinit uint64_t calibrated_ticks = 0;

}  // namespace

uint64_t tsc_ticks_per_microsecond() {
    if (calibrated_ticks == 0) calibrated_ticks = lapic::measure_tsc_ticks_per_microsecond();
    return calibrated_ticks;
}

void halt_at_most(Microseconds duration) {
    lapic::arm_timer(duration);
    wait_for_interrupt();
    lapic::disarm_timer();
}

}  // namespace probe
