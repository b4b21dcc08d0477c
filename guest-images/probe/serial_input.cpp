#include "guest-images/probe/serial_input.hpp"

#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/ioapic.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::serial {
namespace {

// 16550 registers.
constexpr uint16_t receive_buffer = port;
constexpr uint16_t interrupt_enable = port + 1;
constexpr uint16_t interrupt_identification = port + 2;
constexpr uint16_t modem_control = port + 4;
constexpr uint16_t line_status = port + 5;
constexpr uint8_t received_available = 0x01;
constexpr uint8_t no_interrupt_pending = 0x01;
constexpr uint8_t cause_mask = 0x0e;
constexpr uint8_t cause_received = 0x04;
constexpr uint8_t cause_timeout = 0x0c;
constexpr uint8_t out2 = 0x08;

constexpr uint8_t serial_irq = 4;

}  // namespace

void Input::take_all() {
    while ((in<uint8_t>(line_status) & received_available) != 0) {
        const char c = static_cast<char>(in<uint8_t>(receive_buffer));
        if (c == '\n' || c == '\r') is_complete_ = true;
        if (!is_complete_ && size_ < capacity) line_[size_++] = c;
    }
}

void Input::forget_line() {
    size_ = 0;
    is_complete_ = false;
}

void Input::take_interrupt(void* context) {
    for (;;) {
        const auto cause = in<uint8_t>(interrupt_identification);
        if ((cause & no_interrupt_pending) != 0) return;
        const auto kind = static_cast<uint8_t>(cause & cause_mask);
        CHECK(kind == cause_received || kind == cause_timeout, hex(cause));
        static_cast<Input*>(context)->take_all();
    }
}

uint8_t Input::turn_interrupt_on() {
    const madt::IsaInterrupt wiring = madt::isa_interrupt(serial_irq);
    const uint8_t vector = interrupts::allocate(take_interrupt, this);
    ioapic::connect({wiring.gsi, vector, lapic::id(), wiring.is_level, wiring.is_active_low});
    out<uint8_t>(modem_control, out2);
    out<uint8_t>(interrupt_enable, received_available);
    return vector;
}

void Input::turn_interrupt_off() {
    out<uint8_t>(interrupt_enable, 0);
}

}  // namespace probe::serial
