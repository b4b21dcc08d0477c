#include "firmware/memory_map.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace viaduct::firmware {
namespace {

// Below this there is no room for the boot structures and a kernel at 1 MiB.
constexpr std::uint64_t smallest_memory = 2 * mib;
constexpr std::uint64_t largest_pci_window = 256 * gib;
constexpr unsigned fewest_physical_bits = 32;
constexpr unsigned most_physical_bits = 52;

}  // namespace

std::vector<MemoryRange> ram_regions(std::uint64_t memory) {
    if (memory <= low_ram_limit) return {{Gpa{0}, memory}};
    return {{Gpa{0}, low_ram_limit}, {Gpa{high_ram_base}, memory - low_ram_limit}};
}

X86Layout::X86Layout(std::uint64_t memory, unsigned physical_bits)
    : memory_(memory),
      address_limit_(1ULL << std::clamp(physical_bits, fewest_physical_bits, most_physical_bits)) {
    if (memory % page_size != 0) {
        throw Error(
            "memory of {} bytes is not a multiple of {}; give whole pages, say --memory {}M",
            memory, page_size, std::max(memory / mib, smallest_memory / mib));
    }
    if (memory < smallest_memory) {
        throw Error("memory of {} bytes cannot hold a kernel; give at least --memory {}M", memory,
                    smallest_memory / mib);
    }
    if (memory > address_limit_ || high_ram_end() > address_limit_) {
        const bool has_high = address_limit_ > high_ram_base;
        const std::uint64_t most = address_limit_ - (has_high ? high_ram_base - low_ram_limit
                                                              : address_limit_ - low_ram_limit);
        throw Error(
            "memory of {} MiB is more than this CPU's {} physical address bits can reach; "
            "give at most --memory {}M",
            memory / mib, physical_bits, most / mib);
    }
}

std::uint64_t X86Layout::low_ram_end() const noexcept {
    return std::min(memory_, low_ram_limit);
}

std::uint64_t X86Layout::high_ram_end() const noexcept {
    return high_ram_base + (memory_ - low_ram_end());
}

MemoryRange X86Layout::pci_window_64() const noexcept {
    const std::uint64_t base = (high_ram_end() + gib - 1) / gib * gib;
    const std::uint64_t end = std::min(address_limit_, base + largest_pci_window);
    return {Gpa{base}, end > base ? end - base : 0};
}

std::vector<MemoryMapEntry> X86Layout::memory_map() const {
    std::vector<MemoryMapEntry> map{
        {conventional_memory, MemoryType::ram},
        {extended_bios_area, MemoryType::reserved},
        {bios_area, MemoryType::reserved},
        {{Gpa{extended_memory_base}, low_ram_end() - extended_memory_base}, MemoryType::ram},
        {ecam, MemoryType::reserved},
        {{kvm_identity_map.base, kvm_identity_map.size + kvm_tss.size}, MemoryType::reserved},
    };
    if (high_ram_end() > high_ram_base) {
        map.push_back({{Gpa{high_ram_base}, high_ram_end() - high_ram_base}, MemoryType::ram});
    }
    return map;
}

}  // namespace viaduct::firmware
