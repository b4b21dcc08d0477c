#include "vmm/arch/x86_64/cpuid.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace viaduct::x86 {
namespace {

constexpr std::uint32_t hypervisor_bit = 1U << 31;    // leaf 1 ECX
constexpr std::uint32_t tsc_deadline_bit = 1U << 24;  // leaf 1 ECX: KVM emulates it, never lists it
constexpr std::uint32_t htt_bit = 1U << 28;           // leaf 1 EDX: EBX 23:16 is valid

/// Replaces bits [shift, shift + width) of `word`.
void put(std::uint32_t& word, unsigned shift, unsigned width, std::uint32_t value) {
    const std::uint32_t mask = ((1U << width) - 1) << shift;
    word = (word & ~mask) | (value << shift & mask);
}

/// How far an APIC id is shifted to name the next level up: log2 of the ids below it, rounded up.
unsigned id_bits(unsigned count) {
    return static_cast<unsigned>(std::bit_width(count - 1));
}

void set_features(kvm_cpuid_entry2& leaf, unsigned apic_id, unsigned cpus) {
    put(leaf.ebx, 24, 8, apic_id);
    put(leaf.ebx, 16, 8, std::bit_ceil(cpus));
    leaf.ecx |= hypervisor_bit | tsc_deadline_bit;
    if (cpus > 1) {
        leaf.edx |= htt_bit;
    } else {
        leaf.edx &= ~htt_bit;
    }
}

void set_cache_sharing(kvm_cpuid_entry2& leaf, unsigned cpus) {
    const unsigned level = leaf.eax >> 5 & 7;
    // First and second level belong to a core, the third to the package.
    put(leaf.eax, 14, 12, level == 3 ? std::bit_ceil(cpus) - 1 : 0);
    put(leaf.eax, 26, 6, std::min(std::bit_ceil(cpus), 64U) - 1);
}

/// Leaves 0BH and 1FH: thread level, core level, and an invalid one that ends the list.
void set_topology(kvm_cpuid_entry2& leaf, unsigned apic_id, unsigned cpus) {
    constexpr std::uint32_t thread_level = 1;
    constexpr std::uint32_t core_level = 2;
    const std::uint32_t subleaf = leaf.index;
    leaf.edx = apic_id;
    leaf.ecx = subleaf;
    leaf.eax = 0;
    leaf.ebx = 0;
    if (subleaf == 0) {
        leaf.ebx = 1;
        leaf.ecx |= thread_level << 8;
    } else if (subleaf == 1) {
        leaf.eax = id_bits(cpus);
        leaf.ebx = cpus;
        leaf.ecx |= core_level << 8;
    }
}

void set_amd_core_count(kvm_cpuid_entry2& leaf, unsigned cpus) {
    put(leaf.ecx, 0, 8, cpus - 1);
    put(leaf.ecx, 12, 4, id_bits(cpus));
}

void set_amd_core(kvm_cpuid_entry2& leaf, unsigned apic_id) {
    leaf.eax = apic_id;
    put(leaf.ebx, 0, 16, apic_id & 0xff);  // core id 7:0, threads per core minus one 15:8
    leaf.ecx = 0;                          // one node
}

/// KVM lists one subleaf of 0BH and 1FH; a guest reads three.
void add_topology_subleaves(std::vector<kvm_cpuid_entry2>& cpuid, std::uint32_t function) {
    const bool present = std::any_of(cpuid.begin(), cpuid.end(),
                                     [&](const auto& leaf) { return leaf.function == function; });
    if (!present) return;
    std::erase_if(cpuid, [&](const auto& leaf) { return leaf.function == function; });
    for (std::uint32_t subleaf = 0; subleaf < 3; ++subleaf) {
        kvm_cpuid_entry2 leaf{};
        leaf.function = function;
        leaf.index = subleaf;
        leaf.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        cpuid.push_back(leaf);
    }
}

}  // namespace

std::vector<kvm_cpuid_entry2> vcpu_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                         unsigned apic_id, unsigned cpus) {
    std::vector<kvm_cpuid_entry2> cpuid(supported.begin(), supported.end());
    add_topology_subleaves(cpuid, 0xb);
    add_topology_subleaves(cpuid, 0x1f);
    for (kvm_cpuid_entry2& leaf : cpuid) {
        switch (leaf.function) {
            case 1:
                set_features(leaf, apic_id, cpus);
                break;
            case 4:
                set_cache_sharing(leaf, cpus);
                break;
            case 0xb:
            case 0x1f:
                set_topology(leaf, apic_id, cpus);
                break;
            case 0x8000'0008:
                set_amd_core_count(leaf, cpus);
                break;
            case 0x8000'001e:
                set_amd_core(leaf, apic_id);
                break;
            default:
                break;
        }
    }
    return cpuid;
}

unsigned physical_address_bits(std::span<const kvm_cpuid_entry2> cpuid) noexcept {
    constexpr unsigned without_leaf = 36;
    for (const kvm_cpuid_entry2& leaf : cpuid) {
        if (leaf.function == 0x8000'0008) return leaf.eax & 0xff;
    }
    return without_leaf;
}

}  // namespace viaduct::x86
