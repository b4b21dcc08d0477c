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
        : storage_((sizeof(Header) + count * sizeof(Entry) + sizeof(std::max_align_t) - 1) /
                   sizeof(std::max_align_t)),
          count_(count) {}

    // The storage is zeroed bytes aligned for any type, and both types are the kernel's plain
    // structures: any bytes are a valid value of them.
    [[nodiscard]] Header& header() noexcept { return *reinterpret_cast<Header*>(storage_.data()); }
    [[nodiscard]] std::span<Entry> entries() noexcept {
        auto* bytes = reinterpret_cast<std::byte*>(storage_.data()) + sizeof(Header);
        return {reinterpret_cast<Entry*>(bytes), count_};
    }

private:
    std::vector<std::max_align_t> storage_;
    std::size_t count_;
};

}  // namespace viaduct::kvm
