#include "vmm/arch/x86_64/platform.hpp"

#include "base/error.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::x86 {
namespace {

/// KVM's irqchip numbers: the two PICs and the IOAPIC.
constexpr std::uint32_t irqchips = 3;

void prepare(const kvm::Vm& vm) {
    vm.set_identity_map_address(firmware::kvm_identity_map.base);
    vm.set_tss_address(firmware::kvm_tss.base);
    vm.create_irqchip();
    vm.create_pit();
}

void add(devices::Bus& bus, std::uint64_t base, std::uint64_t size,
         std::shared_ptr<devices::BusDevice> device, const char* what) {
    if (!bus.add(base, size, std::move(device))) {
        throw Error("{} at {:#x} is in the way of another device: choose another address", what,
                    base);
    }
}

}  // namespace

Platform::InterruptChips::InterruptChips(const kvm::Vm& vm) {
    prepare(vm);
    for (std::uint32_t chip = 0; chip < irqchips; ++chip) power_on.push_back(vm.irqchip(chip));
    pit = vm.pit();
}

Platform::Platform(const kvm::System& system, const kvm::Vm& vm, EventLoop& events,
                   devices::Bus& memory_bus, devices::Serial::Peer& serial_peer,
                   std::optional<std::uint16_t> debug_exit_port, const PlatformEvents& guest)
    : vm_(vm),
      chips_(vm),
      interrupts_(vm, static_cast<std::uint32_t>(system.extension(KVM_CAP_IRQ_ROUTING))),
      events_(events),
      serial_line_(interrupts_.line(firmware::serial_gsi)),
      rtc_line_(interrupts_.line(firmware::rtc_gsi)),
      sci_(interrupts_.line(firmware::sci_gsi)),
      pci_(std::make_shared<pci::HostBus>()),
      serial_(std::make_shared<devices::Serial>(*serial_line_, serial_peer)),
      rtc_(std::make_shared<devices::Rtc>(*rtc_line_, std::chrono::system_clock::now,
                                          [this](auto delay) { rtc_timer_.arm(delay); })),
      power_(std::make_shared<devices::Power>(*sci_, guest.power_off)),
      reset_register_(std::make_shared<devices::ResetRegister>(guest.reset)) {
    using firmware::ecam;
    add(memory_bus, ecam.base.value, ecam.size, pci_, "the PCI configuration window");
    add(ports_, firmware::serial_port, devices::Serial::port_count, serial_, "the serial port");
    add(ports_, firmware::rtc_port, devices::Rtc::port_count, rtc_, "the clock");
    add(ports_, firmware::pm1a_event_port, devices::Power::port_count, power_, "power management");
    add(ports_, PciPorts::base, PciPorts::size, std::make_shared<PciPorts>(*pci_, *reset_register_),
        "the PCI configuration ports");
    add(ports_, devices::KeyboardReset::port, 1,
        std::make_shared<devices::KeyboardReset>(guest.reset), "the keyboard controller");
    if (debug_exit_port) {
        add(ports_, *debug_exit_port, devices::DebugExit::port_count,
            std::make_shared<devices::DebugExit>(guest.debug_exit), "--debug-exit");
    }
    events_.watch(rtc_timer_.fd(), [this] {
        if (rtc_timer_.take()) rtc_->on_timer();
    });
}

Platform::~Platform() {
    events_.unwatch(rtc_timer_.fd());
}

void Platform::reset() {
    pci_->reset();
    serial_->reset();
    rtc_->reset();
    power_->reset();
    reset_register_->reset();
    for (const kvm_irqchip& chip : chips_.power_on) vm_.set_irqchip(chip);
    vm_.set_pit(chips_.pit);
}

}  // namespace viaduct::x86
