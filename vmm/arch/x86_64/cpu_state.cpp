#include "vmm/arch/x86_64/cpu_state.hpp"

#include <algorithm>
#include <array>

namespace viaduct::x86 {
namespace {

// Intel SDM 3A, 2.5 and 2.2.1.
constexpr std::uint64_t cr0_pe = 1U << 0;
constexpr std::uint64_t cr0_et = 1U << 4;
constexpr std::uint64_t cr0_pg = 1U << 31;
constexpr std::uint64_t cr4_pae = 1U << 5;
constexpr std::uint64_t efer_lme = 1U << 8;
constexpr std::uint64_t efer_lma = 1U << 10;
constexpr std::uint64_t rflags_reserved_one = 1U << 1;

constexpr std::uint32_t msr_tsc = 0x10;
constexpr std::uint32_t msr_feature_control = 0x3a;

kvm_segment to_kvm(const firmware::Segment& segment) {
    kvm_segment made{};
    made.selector = segment.selector;
    made.limit = segment.limit;
    made.type = segment.type;
    made.present = 1;
    made.s = segment.code_or_data ? 1 : 0;
    made.db = segment.default_32 ? 1 : 0;
    made.l = segment.long_mode ? 1 : 0;
    made.g = segment.granular ? 1 : 0;
    return made;
}

}  // namespace

CpuState save_cpu_state(const kvm::Vcpu& vcpu, std::span<const std::uint32_t> msr_indices) {
    return {.registers = vcpu.registers(),
            .special_registers = vcpu.special_registers(),
            .fpu = vcpu.fpu(),
            .xcrs = vcpu.xcrs(),
            .lapic = vcpu.lapic(),
            .events = vcpu.events(),
            .debug_registers = vcpu.debug_registers(),
            .mp_state = vcpu.mp_state(),
            .msrs = vcpu.msrs(msr_indices)};
}

void restore_cpu_state(const kvm::Vcpu& vcpu, const CpuState& state) {
    // On Intel a guest that runs machines of its own is in VMX operation, where KVM takes no CR4
    // without VMXE; what ends it is a 0 that the host writes here. AMD has no such register, which
    // is skipped then, and EFER does it.
    vcpu.set_msrs(
        std::array{kvm_msr_entry{.index = msr_feature_control, .reserved = 0, .data = 0}});
    vcpu.set_special_registers(state.special_registers);
    // A guest may find the time-stamp counter where it is; set back, the vCPUs' would drift apart.
    std::vector<kvm_msr_entry> msrs = state.msrs;
    std::erase_if(msrs, [](const kvm_msr_entry& msr) { return msr.index == msr_tsc; });
    vcpu.set_msrs(msrs);
    vcpu.set_xcrs(state.xcrs);
    vcpu.set_fpu(state.fpu);
    vcpu.set_debug_registers(state.debug_registers);
    vcpu.set_registers(state.registers);
    vcpu.set_lapic(state.lapic);
    vcpu.set_events(state.events);
    vcpu.set_mp_state(state.mp_state);
}

void enter_kernel(const kvm::Vcpu& vcpu, const firmware::CpuEntry& entry) {
    kvm_sregs special = vcpu.special_registers();
    special.cs = to_kvm(entry.code);
    special.ds = special.es = special.fs = special.gs = special.ss = to_kvm(entry.data);
    special.tr = to_kvm(entry.task);
    special.gdt.base = entry.gdt.value;
    special.gdt.limit = entry.gdt_limit;
    special.cr0 = cr0_pe | cr0_et;
    special.cr4 = 0;
    special.efer = 0;
    if (entry.mode == firmware::EntryMode::long64_linux) {
        special.cr0 |= cr0_pg;
        special.cr3 = entry.page_tables.value;
        special.cr4 = cr4_pae;
        special.efer = efer_lme | efer_lma;
    }
    vcpu.set_special_registers(special);
    kvm_regs registers{};
    registers.rip = entry.rip.value;
    registers.rbx = entry.rbx;
    registers.rsi = entry.rsi;
    registers.rflags = rflags_reserved_one;
    vcpu.set_registers(registers);
}

}  // namespace viaduct::x86
