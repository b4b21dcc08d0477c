/// The board of an x86 machine: KVM's interrupt controllers and timer, and the few devices at fixed
/// ports that a PC's software expects (firmware/memory_map.hpp says where).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.hpp"
#include "base/timer_fd.hpp"
#include "devices/bus.hpp"
#include "devices/debug_exit.hpp"
#include "devices/pci/host_bus.hpp"
#include "devices/power.hpp"
#include "devices/reset_control.hpp"
#include "devices/rtc.hpp"
#include "devices/serial.hpp"
#include "vmm/arch/x86_64/pci_ports.hpp"
#include "vmm/kvm/interrupt_router.hpp"
#include "vmm/kvm/vm.hpp"

namespace viaduct::x86 {

/// What the guest asked for; called on vCPU threads.
struct PlatformEvents {
    std::function<void()> power_off;
    std::function<void()> reset;
    std::function<void(std::uint32_t value)> debug_exit;
};

class Platform {
public:
    /// Before the first vCPU. `memory_bus` gets the ECAM window; `events` runs the clock's alarm.
    Platform(const kvm::System& system, const kvm::Vm& vm, EventLoop& events,
             devices::Bus& memory_bus, devices::Serial::Peer& serial_peer,
             std::optional<std::uint16_t> debug_exit_port, const PlatformEvents& guest);
    Platform(const Platform&) = delete;
    Platform& operator=(const Platform&) = delete;
    ~Platform();

    [[nodiscard]] devices::Bus& ports() noexcept { return ports_; }
    [[nodiscard]] pci::HostBus& pci() noexcept { return *pci_; }
    [[nodiscard]] kvm::InterruptRouter& interrupts() noexcept { return interrupts_; }
    [[nodiscard]] devices::Serial& serial() noexcept { return *serial_; }
    void press_power_button() noexcept { power_->press_power_button(); }

    /// Every device on the board and the bus as after power-on; the vCPUs stand still.
    void reset();

private:
    /// KVM's own interrupt controllers and timer, and their state when they were new.
    struct InterruptChips {
        explicit InterruptChips(const kvm::Vm& vm);
        std::vector<kvm_irqchip> power_on;
        kvm_pit_state2 pit{};
    };

    const kvm::Vm& vm_;
    InterruptChips chips_;
    kvm::InterruptRouter interrupts_;
    EventLoop& events_;
    TimerFd rtc_timer_;
    std::unique_ptr<devices::InterruptLine> serial_line_;
    std::unique_ptr<devices::InterruptLine> rtc_line_;
    std::unique_ptr<devices::InterruptLine> sci_;
    devices::Bus ports_;
    std::shared_ptr<pci::HostBus> pci_;
    std::shared_ptr<devices::Serial> serial_;
    std::shared_ptr<devices::Rtc> rtc_;
    std::shared_ptr<devices::Power> power_;
    std::shared_ptr<devices::ResetRegister> reset_register_;
};

}  // namespace viaduct::x86
