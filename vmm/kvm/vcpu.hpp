/// A KVM vCPU: the file descriptor, the shared kvm_run area, and one function per state ioctl (KVM
/// API, "vcpu ioctls"). run() and the state functions belong to the vCPU's own thread, or to
/// another while that thread stands still; kick() to anybody.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/mapping.hpp"
#include "vmm/kvm/system.hpp"
#include "vmm/kvm/uapi.hpp"
#include "vmm/kvm/vm.hpp"

namespace viaduct::kvm {

class Vcpu {
public:
    Vcpu(const System& system, const Vm& vm, unsigned index);

    [[nodiscard]] unsigned index() const noexcept { return index_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Runs the guest until it needs the VMM. 0, or the errno: EINTR after kick() or a signal.
    [[nodiscard]] int run() noexcept;
    [[nodiscard]] kvm_run& shared() noexcept { return *run_; }

    /// Makes a run() under way, or else the next one, return EINTR at once. Another thread's call
    /// needs a signal to this vCPU's thread beside it.
    void request_exit() noexcept;
    /// Takes a request back; what was asked for must be looked at after this, not before.
    void clear_exit_request() noexcept;

    void set_cpuid(std::span<const kvm_cpuid_entry2> entries) const;
    [[nodiscard]] kvm_regs registers() const;
    void set_registers(const kvm_regs& registers) const;
    [[nodiscard]] kvm_sregs special_registers() const;
    void set_special_registers(const kvm_sregs& registers) const;
    [[nodiscard]] kvm_fpu fpu() const;
    void set_fpu(const kvm_fpu& fpu) const;
    [[nodiscard]] kvm_xcrs xcrs() const;
    void set_xcrs(const kvm_xcrs& xcrs) const;
    [[nodiscard]] kvm_lapic_state lapic() const;
    void set_lapic(const kvm_lapic_state& lapic) const;
    [[nodiscard]] kvm_vcpu_events events() const;
    void set_events(const kvm_vcpu_events& events) const;
    [[nodiscard]] kvm_debugregs debug_registers() const;
    void set_debug_registers(const kvm_debugregs& registers) const;
    [[nodiscard]] kvm_mp_state mp_state() const;
    void set_mp_state(const kvm_mp_state& state) const;
    /// The registers of `indices` that can be read.
    [[nodiscard]] std::vector<kvm_msr_entry> msrs(std::span<const std::uint32_t> indices) const;
    /// Writes what can be written; the count of entries that were.
    std::size_t set_msrs(std::span<const kvm_msr_entry> entries) const;

    /// Tells the guest's clock that the VM was paused on purpose (no soft-lockup warnings).
    void notify_paused() const noexcept;

private:
    unsigned index_;
    Fd fd_;
    Mapping shared_;
    kvm_run* run_;
};

}  // namespace viaduct::kvm
