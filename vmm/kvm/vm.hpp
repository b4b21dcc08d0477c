/// A KVM virtual machine: its in-kernel interrupt controllers, memory slots, ioeventfds, irqfds and
/// interrupt routes (KVM API, "VM ioctls"). One function per ioctl, no policy; throws SystemError.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.hpp"
#include "base/event_fd.hpp"
#include "base/fd.hpp"
#include "vmm/kvm/system.hpp"
#include "vmm/kvm/uapi.hpp"

namespace viaduct::kvm {

class Vm {
public:
    explicit Vm(const System& system) : fd_(system.create_vm()) {}

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Four pages below 4 GiB that KVM on Intel needs for itself; before the first vCPU.
    void set_tss_address(Gpa address) const;
    void set_identity_map_address(Gpa address) const;
    /// PIC, IOAPIC and a LAPIC per vCPU, in the kernel; before the first vCPU.
    void create_irqchip() const;
    void create_pit() const;
    [[nodiscard]] Fd create_vcpu(unsigned index) const;

    /// Makes `bytes` the guest's memory at `address`; an empty span takes the slot away.
    void set_memory_slot(std::uint32_t slot, Gpa address, std::span<std::byte> bytes) const;

    /// A store of any width to `address` signals `kick`.
    void add_ioeventfd(Gpa address, const EventFd& kick) const;
    void remove_ioeventfd(Gpa address, const EventFd& kick) const;
    void add_irqfd(std::uint32_t gsi, const EventFd& source) const;
    void remove_irqfd(std::uint32_t gsi, const EventFd& source) const;
    /// Replaces the whole table.
    void set_gsi_routing(std::span<const kvm_irq_routing_entry> entries) const;
    void set_irq_line(std::uint32_t gsi, bool asserted) const noexcept;
    /// Sends a message-signalled interrupt now.
    void signal_msi(std::uint64_t address, std::uint32_t message) const noexcept;

    [[nodiscard]] kvm_irqchip irqchip(std::uint32_t chip) const;
    void set_irqchip(const kvm_irqchip& state) const;
    [[nodiscard]] kvm_pit_state2 pit() const;
    void set_pit(const kvm_pit_state2& state) const;

private:
    Fd fd_;
};

}  // namespace viaduct::kvm
