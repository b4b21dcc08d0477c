#include "vmm/kvm/vcpu.hpp"

#include <algorithm>
#include <atomic>

#include "vmm/kvm/ioctl.hpp"
#include "vmm/kvm/variable_array.hpp"

namespace viaduct::kvm {
namespace {

template <typename State>
State get(int fd, const char* name, unsigned long request) {
    State state{};
    checked_ioctl(fd, name, request, &state);
    return state;
}

}  // namespace

Vcpu::Vcpu(const System& system, const Vm& vm, unsigned index)
    : index_(index),
      fd_(vm.create_vcpu(index)),
      shared_("kvm_run", system.vcpu_mmap_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get()),
      // The kernel's definition of what the mapping holds; page-aligned.
      run_(reinterpret_cast<kvm_run*>(shared_.data())) {}

// NOLINTNEXTLINE(readability-make-member-function-const): it changes the vCPU, though no member.
int Vcpu::run() noexcept {
    return ::ioctl(fd(), KVM_RUN, 0) < 0 ? errno : 0;
}

void Vcpu::request_exit() noexcept {
    // seq_cst: pairs with clear_exit_request(), see there.
    std::atomic_ref(run_->immediate_exit).store(1, std::memory_order_seq_cst);
}

void Vcpu::clear_exit_request() noexcept {
    // seq_cst, store before the caller's load of what was asked for: either that load sees the
    // wish, or the wish's request_exit() comes after this store and ends the next run().
    std::atomic_ref(run_->immediate_exit).store(0, std::memory_order_seq_cst);
}

void Vcpu::set_cpuid(std::span<const kvm_cpuid_entry2> entries) const {
    VariableArray<kvm_cpuid2, kvm_cpuid_entry2> cpuid(entries.size());
    cpuid.header().nent = static_cast<std::uint32_t>(entries.size());
    std::copy(entries.begin(), entries.end(), cpuid.entries().begin());
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_CPUID2, &cpuid.header());
}

kvm_regs Vcpu::registers() const {
    return get<kvm_regs>(fd(), "KVM_GET_REGS", KVM_GET_REGS);
}
void Vcpu::set_registers(const kvm_regs& registers) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_REGS, &registers);
}

kvm_sregs Vcpu::special_registers() const {
    return get<kvm_sregs>(fd(), "KVM_GET_SREGS", KVM_GET_SREGS);
}
void Vcpu::set_special_registers(const kvm_sregs& registers) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_SREGS, &registers);
}

kvm_fpu Vcpu::fpu() const {
    return get<kvm_fpu>(fd(), "KVM_GET_FPU", KVM_GET_FPU);
}
void Vcpu::set_fpu(const kvm_fpu& fpu) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_FPU, &fpu);
}

kvm_xcrs Vcpu::xcrs() const {
    return get<kvm_xcrs>(fd(), "KVM_GET_XCRS", KVM_GET_XCRS);
}
void Vcpu::set_xcrs(const kvm_xcrs& xcrs) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_XCRS, &xcrs);
}

kvm_lapic_state Vcpu::lapic() const {
    return get<kvm_lapic_state>(fd(), "KVM_GET_LAPIC", KVM_GET_LAPIC);
}
void Vcpu::set_lapic(const kvm_lapic_state& lapic) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_LAPIC, &lapic);
}

kvm_vcpu_events Vcpu::events() const {
    return get<kvm_vcpu_events>(fd(), "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS);
}
void Vcpu::set_events(const kvm_vcpu_events& events) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_VCPU_EVENTS, &events);
}

kvm_debugregs Vcpu::debug_registers() const {
    return get<kvm_debugregs>(fd(), "KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS);
}
void Vcpu::set_debug_registers(const kvm_debugregs& registers) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_DEBUGREGS, &registers);
}

kvm_mp_state Vcpu::mp_state() const {
    return get<kvm_mp_state>(fd(), "KVM_GET_MP_STATE", KVM_GET_MP_STATE);
}
void Vcpu::set_mp_state(const kvm_mp_state& state) const {
    VIADUCT_KVM_IOCTL(fd(), KVM_SET_MP_STATE, &state);
}

std::vector<kvm_msr_entry> Vcpu::msrs(std::span<const std::uint32_t> indices) const {
    std::vector<kvm_msr_entry> read;
    std::size_t next = 0;
    while (next < indices.size()) {
        VariableArray<kvm_msrs, kvm_msr_entry> batch(indices.size() - next);
        batch.header().nmsrs = static_cast<std::uint32_t>(indices.size() - next);
        for (std::size_t i = 0; i < batch.entries().size(); ++i) {
            batch.entries()[i].index = indices[next + i];
        }
        // Stops at the first that cannot be read and tells how many could: skip that one.
        const auto count =
            static_cast<std::size_t>(VIADUCT_KVM_IOCTL(fd(), KVM_GET_MSRS, &batch.header()));
        const auto entries = batch.entries().first(count);
        read.insert(read.end(), entries.begin(), entries.end());
        next += count + 1;
    }
    return read;
}

std::size_t Vcpu::set_msrs(std::span<const kvm_msr_entry> entries) const {
    std::size_t written = 0;
    std::size_t next = 0;
    while (next < entries.size()) {
        VariableArray<kvm_msrs, kvm_msr_entry> batch(entries.size() - next);
        batch.header().nmsrs = static_cast<std::uint32_t>(entries.size() - next);
        std::copy(entries.begin() + static_cast<std::ptrdiff_t>(next), entries.end(),
                  batch.entries().begin());
        const auto count =
            static_cast<std::size_t>(VIADUCT_KVM_IOCTL(fd(), KVM_SET_MSRS, &batch.header()));
        written += count;
        next += count + 1;
    }
    return written;
}

void Vcpu::notify_paused() const noexcept {
    // EINVAL says that the guest uses no kvmclock: nothing to tell it.
    (void)::ioctl(fd(), KVM_KVMCLOCK_CTRL, 0);
}

}  // namespace viaduct::kvm
