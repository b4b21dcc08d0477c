/// /dev/kvm: what the host's KVM can do, and new virtual machines (KVM API, "System ioctls").
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.hpp"
#include "vmm/kvm/uapi.hpp"

namespace viaduct::kvm {

class System {
public:
    /// Throws Error when there is no usable /dev/kvm, saying why and what to do.
    System();

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// KVM_CHECK_EXTENSION; 0 means absent.
    [[nodiscard]] int extension(int capability) const noexcept;
    [[nodiscard]] Fd create_vm() const;
    /// Bytes of a vCPU's shared kvm_run area.
    [[nodiscard]] std::size_t vcpu_mmap_size() const;
    /// KVM_GET_SUPPORTED_CPUID: what this host and KVM can give a guest.
    [[nodiscard]] std::vector<kvm_cpuid_entry2> supported_cpuid() const;
    /// KVM_GET_MSR_INDEX_LIST: the registers that make up a vCPU's state.
    [[nodiscard]] std::vector<std::uint32_t> msr_indices() const;

private:
    Fd fd_;
};

}  // namespace viaduct::kvm
