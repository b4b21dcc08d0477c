/// KVM's memory slots, numbered here: which host memory the guest finds at which physical address.
/// Safe from any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "base/address.hpp"
#include "vmm/kvm/vm.hpp"

namespace viaduct::kvm {

class MemorySlots {
public:
    /// In the guest while it lives. The host memory must outlive it.
    class Slot {
    public:
        Slot(MemorySlots& slots, std::uint32_t number, Gpa address)
            : slots_(&slots), number_(number), address_(address) {}
        Slot(Slot&& other) noexcept
            : slots_(std::exchange(other.slots_, nullptr)),
              number_(other.number_),
              address_(other.address_) {}
        Slot& operator=(Slot&&) = delete;
        Slot(const Slot&) = delete;
        Slot& operator=(const Slot&) = delete;
        ~Slot() {
            if (slots_ != nullptr) slots_->remove(number_, address_);
        }

        /// Goes with the VM instead, which is quicker; no vCPU may run any more.
        void leave_to_vm() noexcept { slots_ = nullptr; }

    private:
        MemorySlots* slots_;
        std::uint32_t number_;
        Gpa address_;
    };

    explicit MemorySlots(const Vm& vm) : vm_(vm) {}

    /// Throws SystemError when KVM refuses: an overlap, or no slot left.
    [[nodiscard]] Slot add(Gpa address, std::span<std::byte> bytes);

private:
    void remove(std::uint32_t number, Gpa address) noexcept;

    const Vm& vm_;
    std::mutex mutex_;
    std::vector<bool> in_use_;  // guarded by mutex_
};

}  // namespace viaduct::kvm
