/// What a vCPU's exit asks of the VMM (KVM API, struct kvm_run).
#pragma once

#include <string>

#include "devices/bus.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace viaduct::x86 {

enum class ExitOutcome {
    handled,
    /// A triple fault: the CPU has shut itself down, which resets a PC.
    shutdown,
    /// KVM cannot go on with this vCPU; describe_failure() says more.
    failed,
};

/// Serves the exit that the last KVM_RUN ended with.
ExitOutcome dispatch_exit(kvm::Vcpu& vcpu, devices::Bus& memory, devices::Bus& ports) noexcept;

/// One line for the log: the reason, where the guest stood, and its instruction's bytes if KVM
/// gave them. For a vCPU's own thread, where nothing may be thrown.
std::string describe_failure(kvm::Vcpu& vcpu);

}  // namespace viaduct::x86
