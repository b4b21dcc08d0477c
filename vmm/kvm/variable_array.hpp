/// The kernel's idiom of a header followed by a counted array, with the storage and alignment owned
/// here: `kvm_cpuid2`, `kvm_msrs`, `kvm_irq_routing` and their like.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace viaduct::kvm {

template <typename Header, typename Entry>
class VariableArray {
public:
    explicit VariableArray(std::size_t count)
        : storage_(sizeof(Header) + count * sizeof(Entry)), count_(count) {}

    // operator new aligns for any type, and its bytes may become any plain structure: both types
    // are the kernel's, and all zero is a value of them.
    [[nodiscard]] Header& header() noexcept { return *reinterpret_cast<Header*>(storage_.data()); }
    [[nodiscard]] std::span<Entry> entries() noexcept {
        return {reinterpret_cast<Entry*>(storage_.data() + sizeof(Header)), count_};
    }

private:
    std::vector<std::byte> storage_;
    std::size_t count_;
};

}  // namespace viaduct::kvm
