/// Doorbells under KVM: ioeventfds, and memory slots for a device's own doorbell pages. Safe from
/// any thread.
#pragma once

#include "devices/doorbells.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/kvm/vm.hpp"

namespace viaduct::kvm {

class Doorbells final : public devices::Doorbells {
public:
    Doorbells(const Vm& vm, MemorySlots& slots) : vm_(vm), slots_(slots) {}

    std::unique_ptr<Registration> attach(Gpa address, const EventFd& kick) override;
    std::unique_ptr<Registration> map_page(Gpa address, std::span<std::byte> page) override;

private:
    const Vm& vm_;
    MemorySlots& slots_;
};

}  // namespace viaduct::kvm
