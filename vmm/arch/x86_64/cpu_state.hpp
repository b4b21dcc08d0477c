/// The whole state of an x86 vCPU that KVM lets us read and write. Taken once when the vCPU is new,
/// it is what a machine reset goes back to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "firmware/cpu_entry.hpp"
#include "vmm/kvm/uapi.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace viaduct::x86 {

struct CpuState {
    kvm_regs registers;
    kvm_sregs special_registers;
    kvm_fpu fpu;
    kvm_xcrs xcrs;
    kvm_lapic_state lapic;
    kvm_vcpu_events events;
    kvm_debugregs debug_registers;
    kvm_mp_state mp_state;
    std::vector<kvm_msr_entry> msrs;
};

/// `msr_indices` as System::msr_indices() tells. The vCPU must stand still.
CpuState save_cpu_state(const kvm::Vcpu& vcpu, std::span<const std::uint32_t> msr_indices);
void restore_cpu_state(const kvm::Vcpu& vcpu, const CpuState& state);

/// Puts the first vCPU, fresh or reset, at the kernel's entry point.
void enter_kernel(const kvm::Vcpu& vcpu, const firmware::CpuEntry& entry);

}  // namespace viaduct::x86
