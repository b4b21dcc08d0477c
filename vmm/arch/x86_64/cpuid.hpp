/// What a vCPU's CPUID says: all that KVM supports on this host, with the vCPU's own APIC id and a
/// topology of one package with one thread per core (Intel SDM 2A, CPUID leaves 1, 4, 0BH, 1FH; AMD
/// APM 3, 8000_0008H and 8000_001EH).
#pragma once

#include <span>
#include <vector>

#include "vmm/kvm/uapi.hpp"

namespace viaduct::x86 {

/// `apic_id` is below `cpus`.
std::vector<kvm_cpuid_entry2> vcpu_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                         unsigned apic_id, unsigned cpus);

/// Bits of a guest physical address (leaf 8000_0008H, EAX 7:0); 36 where the leaf is missing.
unsigned physical_address_bits(std::span<const kvm_cpuid_entry2> cpuid) noexcept;

}  // namespace viaduct::x86
