#include "vmm/kvm/vm.hpp"

#include <algorithm>

#include "vmm/kvm/ioctl.hpp"
#include "vmm/kvm/variable_array.hpp"

namespace viaduct::kvm {
namespace {

kvm_ioeventfd ioeventfd(Gpa address, const EventFd& kick, std::uint32_t flags) {
    kvm_ioeventfd request{};
    request.addr = address.value;
    request.len = 0;  // any width (KVM_CAP_IOEVENTFD_ANY_LENGTH)
    request.fd = kick.fd();
    request.flags = flags;
    return request;
}

kvm_irqfd irqfd(std::uint32_t gsi, const EventFd& source, std::uint32_t flags) {
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(source.fd());
    request.gsi = gsi;
    request.flags = flags;
    return request;
}

}  // namespace

void Vm::set_tss_address(Gpa address) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_TSS_ADDR, address.value);
}

void Vm::set_identity_map_address(Gpa address) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_IDENTITY_MAP_ADDR, &address.value);
}

void Vm::create_irqchip() const {
    VIADUCT_KVM_IOCTL(fd(), KVM_CREATE_IRQCHIP, 0);
}

void Vm::create_pit() const {
    kvm_pit_config config{};
    config.flags = KVM_PIT_SPEAKER_DUMMY;
    VIADUCT_KVM_IOCTL(fd(), KVM_CREATE_PIT2, &config);
}

Fd Vm::create_vcpu(unsigned index) const {
    return Fd(VIADUCT_KVM_IOCTL(fd(), KVM_CREATE_VCPU, index));
}

void Vm::set_memory_slot(std::uint32_t slot, Gpa address, std::span<std::byte> bytes) const {
    kvm_userspace_memory_region region{};
    region.slot = slot;
    region.guest_phys_addr = address.value;
    region.memory_size = bytes.size();
    region.userspace_addr = reinterpret_cast<std::uintptr_t>(bytes.data());
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_USER_MEMORY_REGION, &region);
}

void Vm::add_ioeventfd(Gpa address, const EventFd& kick) const {
    auto request = ioeventfd(address, kick, 0);
    VIADUCT_KVM_IOCTL(fd(), KVM_IOEVENTFD, &request);
}

void Vm::remove_ioeventfd(Gpa address, const EventFd& kick) const {
    auto request = ioeventfd(address, kick, KVM_IOEVENTFD_FLAG_DEASSIGN);
    VIADUCT_KVM_IOCTL(fd(), KVM_IOEVENTFD, &request);
}

void Vm::add_irqfd(std::uint32_t gsi, const EventFd& source) const {
    auto request = irqfd(gsi, source, 0);
    VIADUCT_KVM_IOCTL(fd(), KVM_IRQFD, &request);
}

void Vm::remove_irqfd(std::uint32_t gsi, const EventFd& source) const {
    auto request = irqfd(gsi, source, KVM_IRQFD_FLAG_DEASSIGN);
    VIADUCT_KVM_IOCTL(fd(), KVM_IRQFD, &request);
}

void Vm::set_gsi_routing(std::span<const kvm_irq_routing_entry> entries) const {
    VariableArray<kvm_irq_routing, kvm_irq_routing_entry> table(entries.size());
    table.header().nr = static_cast<std::uint32_t>(entries.size());
    std::copy(entries.begin(), entries.end(), table.entries().begin());
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_GSI_ROUTING, &table.header());
}

void Vm::set_irq_line(std::uint32_t gsi, bool asserted) const noexcept {
    kvm_irq_level level{};
    level.irq = gsi;
    level.level = asserted ? 1 : 0;
    // Fails only for a GSI without a route, and the lines' are there from the start.
    (void)::ioctl(fd(), KVM_IRQ_LINE, &level);
}

void Vm::signal_msi(std::uint64_t address, std::uint32_t message) const noexcept {
    kvm_msi msi{};
    msi.address_lo = static_cast<std::uint32_t>(address);
    msi.address_hi = static_cast<std::uint32_t>(address >> 32);
    msi.data = message;
    // Fails for a message that names no CPU: the guest's choice, and nobody is interrupted.
    (void)::ioctl(fd(), KVM_SIGNAL_MSI, &msi);
}

kvm_irqchip Vm::irqchip(std::uint32_t chip) const {
    kvm_irqchip state{};
    state.chip_id = chip;
    VIADUCT_KVM_IOCTL(fd(), KVM_GET_IRQCHIP, &state);
    return state;
}

void Vm::set_irqchip(const kvm_irqchip& state) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_IRQCHIP, &state);
}

kvm_pit_state2 Vm::pit() const {
    kvm_pit_state2 state{};
    VIADUCT_KVM_IOCTL(fd(), KVM_GET_PIT2, &state);
    return state;
}

void Vm::set_pit(const kvm_pit_state2& state) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_PIT2, &state);
}

}  // namespace viaduct::kvm
