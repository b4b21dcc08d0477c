#include "guest-images/probe/intx.hpp"

#include <atomic>

#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/ioapic.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/report.hpp"

namespace probe {

namespace {

// What the _PRT of viaduct's DSDT says: pins go round the eight inputs behind the ISA ones, device
// by device.
uint32_t usual_gsi(const pci::Function& function) {
    const auto pin = function.read<uint8_t>(pci::header::interrupt_pin);
    CHECK(pin >= 1 && pin <= 4, pin);
    return 16 + (function.address().device + pin - 1U) % 8;
}

}  // namespace

IntxLine::IntxLine(const virtio::Transport& transport)
    : transport_{transport}, vector_{interrupts::allocate(handle, this)} {
    const pci::Function& function = transport.function();
    const auto line = function.read<uint8_t>(pci::header::interrupt_line);
    const bool is_line_set = line != 0 && line != 0xff;
    gsi_ = static_cast<uint32_t>(option_number("gsi", is_line_set ? line : usual_gsi(function)));
}

void IntxLine::connect() {
    madt::IsaInterrupt wiring{gsi_, true, false};
    madt::find_override_of_gsi(gsi_, wiring);
    ioapic::connect({gsi_, vector_, lapic::id(), true, wiring.is_active_low});
    const pci::Function& function = transport_.function();
    function.disable(pci::command::interrupt_disable);
}

void IntxLine::disconnect() const {
    ioapic::mask(gsi_);
}

uint32_t IntxLine::queue_count() const {
    return __atomic_load_n(&queue_count_, __ATOMIC_RELAXED);
}
uint32_t IntxLine::spurious_count() const {
    return __atomic_load_n(&spurious_count_, __ATOMIC_RELAXED);
}

void IntxLine::handle(void* context) {
    auto& line = *static_cast<IntxLine*>(context);
    const uint8_t isr = line.transport_.read_isr();
    if ((isr & virtio::isr::queue) != 0) std::atomic_ref{line.queue_count_}.fetch_add(1);
    if (isr == 0) std::atomic_ref{line.spurious_count_}.fetch_add(1);
}

}  // namespace probe
