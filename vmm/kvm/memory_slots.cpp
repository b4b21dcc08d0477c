#include "vmm/kvm/memory_slots.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/log.hpp"

namespace viaduct::kvm {

MemorySlots::Slot MemorySlots::add(Gpa address, std::span<std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    const auto free = std::find(in_use_.begin(), in_use_.end(), false);
    const auto number = static_cast<std::uint32_t>(free - in_use_.begin());
    vm_.set_memory_slot(number, address, bytes);
    if (free == in_use_.end()) {
        in_use_.push_back(true);
    } else {
        *free = true;
    }
    return {*this, number, address};
}

void MemorySlots::remove(std::uint32_t number, Gpa address) noexcept {
    const std::lock_guard lock(mutex_);
    try {
        vm_.set_memory_slot(number, address, {});
        in_use_[number] = false;
    } catch (const Error& error) {
        log::error("memory at {:#x} stays in the guest: {}", address.value, error.what());
    }
}

}  // namespace viaduct::kvm
