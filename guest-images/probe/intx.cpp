#include "guest-images/probe/intx.hpp"

#include <atomic>

#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/ioapic.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/report.hpp"

namespace probe {

IntxLine::IntxLine(const virtio::Transport& transport)
    : transport_{transport}, vector_{interrupts::allocate(handle, this)} {
    const auto line = transport.function().read<uint8_t>(pci::header::interrupt_line);
    gsi_ = static_cast<uint32_t>(option_number("gsi", line));
    CHECK(gsi_ != 0 && gsi_ < 0xff, "no GSI: Interrupt Line is ", line, " and there is no gsi=");
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
