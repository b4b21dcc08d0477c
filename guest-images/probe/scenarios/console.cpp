// The serial port's other direction, and signs of life.
#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/ioapic.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"

namespace probe {
namespace {

// 16550 registers.
constexpr uint16_t receive_buffer = serial::port;
constexpr uint16_t interrupt_enable = serial::port + 1;
constexpr uint16_t interrupt_identification = serial::port + 2;
constexpr uint16_t modem_control = serial::port + 4;
constexpr uint16_t line_status = serial::port + 5;
constexpr uint8_t received_available = 0x01;
constexpr uint8_t no_interrupt_pending = 0x01;
constexpr uint8_t cause_mask = 0x0e;
constexpr uint8_t cause_received = 0x04;
constexpr uint8_t cause_timeout = 0x0c;
constexpr uint8_t out2 = 0x08;

constexpr uint8_t serial_irq = 4;
constexpr size_t line_capacity = 4096;

struct Receiver {
    char line[line_capacity];
    size_t size;
    bool is_complete;

    void take_all() {
        while ((in<uint8_t>(line_status) & received_available) != 0) {
            const char c = static_cast<char>(in<uint8_t>(receive_buffer));
            if (c == '\n' || c == '\r') is_complete = true;
            if (!is_complete && size < line_capacity) line[size++] = c;
        }
    }
};

void take_interrupt(void* context) {
    for (;;) {
        const auto cause = in<uint8_t>(interrupt_identification);
        if ((cause & no_interrupt_pending) != 0) return;
        const auto kind = static_cast<uint8_t>(cause & cause_mask);
        CHECK(kind == cause_received || kind == cause_timeout, hex(cause));
        static_cast<Receiver*>(context)->take_all();
    }
}

void run_serial_echo() {
    static Receiver receiver;
    const Microseconds limit{option_number("seconds", 10) * 1'000'000};
    const auto is_complete = [] { return *const_cast<volatile bool*>(&receiver.is_complete); };
    print("ready\n");
    if (option_switch("irq")) {
        const madt::IsaInterrupt wiring = madt::isa_interrupt(serial_irq);
        const uint8_t vector = interrupts::allocate(take_interrupt, &receiver);
        ioapic::connect({wiring.gsi, vector, lapic::id(), wiring.is_level, wiring.is_active_low});
        out<uint8_t>(modem_control, out2);
        out<uint8_t>(interrupt_enable, received_available);
        // The time-out's own check would see a line that no interrupt announced.
        CHECK(halt_until(limit, is_complete), "no line within ", limit.count, " us");
        out<uint8_t>(interrupt_enable, 0);
        print("interrupts: ", interrupts::count(vector), "\n");
        CHECK(interrupts::count(vector) > 0);
    } else {
        const auto poll = [&] {
            receiver.take_all();
            return is_complete();
        };
        CHECK(spin_until(limit, poll), "no line within ", limit.count, " us");
    }
    print("echo: ", Text{receiver.line, receiver.size}, "\n");
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
