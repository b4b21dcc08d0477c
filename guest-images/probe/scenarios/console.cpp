// The serial port's other direction, and signs of life.
#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/serial_input.hpp"

namespace probe {
namespace {

void run_serial_echo() {
    static serial::Input input;
    const Microseconds limit{option_number("seconds", 10) * 1'000'000};
    print("ready\n");
    if (option_switch("irq")) {
        const uint8_t vector = input.turn_interrupt_on();
        // The time-out's own check would see a line that no interrupt announced.
        CHECK(halt_until(limit, [] { return input.has_line(); }), "no line within ", limit.count,
              " us");
        input.turn_interrupt_off();
        print("interrupts: ", interrupts::count(vector), "\n");
        CHECK(interrupts::count(vector) > 0);
    } else {
        const auto poll = [] {
            input.take_all();
            return input.has_line();
        };
        CHECK(spin_until(limit, poll), "no line within ", limit.count, " us");
    }
    print("echo: ", input.line(), "\n");
}

// A sign of life every 100 ms, for tests that stop, continue, reset or end the machine from
// outside.
void run_spin() {
    const uint64_t ticks = option_number("ticks", 0);
    const bool is_busy = option_switch("busy");
    for (uint64_t tick = 1; ticks == 0 || tick <= ticks; ++tick) {
        if (is_busy) {
            spin_until(100_ms, [] { return false; });
        } else {
            settle(100_ms);
        }
        print("tick ", tick, "\n");
    }
}

constexpr Scenario scenarios[] = {
    {"serial-echo", run_serial_echo},
    {"spin", run_spin},
};

}  // namespace

constexpr ScenarioList console_scenarios{scenarios};

}  // namespace probe
