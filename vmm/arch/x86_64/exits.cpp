#include "vmm/arch/x86_64/exits.hpp"

#include <algorithm>
#include <span>

#include <fmt/ranges.h>

#include "base/error.hpp"

namespace viaduct::x86 {
namespace {

void serve_port(kvm_run& run, devices::Bus& ports) {
    // The bytes lie in the same mapping, where KVM says: count accesses of size bytes each.
    auto* bytes = reinterpret_cast<std::byte*>(&run) + run.io.data_offset;
    for (std::uint32_t i = 0; i < run.io.count; ++i, bytes += run.io.size) {
        if (run.io.direction == KVM_EXIT_IO_IN) {
            ports.read(run.io.port, {bytes, run.io.size});
        } else {
            ports.write(run.io.port, {bytes, run.io.size});
        }
    }
}

void serve_memory(kvm_run& run, devices::Bus& memory) {
    const auto bytes = std::as_writable_bytes(std::span(run.mmio.data)).first(run.mmio.len);
    if (run.mmio.is_write != 0) {
        memory.write(run.mmio.phys_addr, bytes);
    } else {
        memory.read(run.mmio.phys_addr, bytes);
    }
}

/// Empty when KVM does not tell, as of a VM that it has given up: what has failed is said all the
/// same.
std::string place_of(const kvm::Vcpu& vcpu) {
    try {
        return fmt::format(" at rip {:#x}", vcpu.registers().rip);
    } catch (const Error&) {
        return {};
    }
}

}  // namespace

ExitOutcome dispatch_exit(kvm::Vcpu& vcpu, devices::Bus& memory, devices::Bus& ports) noexcept {
    kvm_run& run = vcpu.shared();
    switch (run.exit_reason) {
        case KVM_EXIT_IO:
            serve_port(run, ports);
            return ExitOutcome::handled;
        case KVM_EXIT_MMIO:
            serve_memory(run, memory);
            return ExitOutcome::handled;
        case KVM_EXIT_INTR:
        case KVM_EXIT_IRQ_WINDOW_OPEN:
            return ExitOutcome::handled;
        case KVM_EXIT_SHUTDOWN:
            return ExitOutcome::shutdown;
        default:
            return ExitOutcome::failed;
    }
}

std::string describe_failure(kvm::Vcpu& vcpu) {
    const kvm_run& run = vcpu.shared();
    std::string text = fmt::format("vCPU {}: KVM exit reason {}", vcpu.index(), run.exit_reason);
    if (run.exit_reason == KVM_EXIT_INTERNAL_ERROR) {
        text += fmt::format(" (internal error, suberror {})", run.internal.suberror);
    } else if (run.exit_reason == KVM_EXIT_FAIL_ENTRY) {
        text += fmt::format(" (entry failed, hardware reason {:#x})",
                            run.fail_entry.hardware_entry_failure_reason);
    }
    text += place_of(vcpu);
    const auto& emulation = run.emulation_failure;
    if (run.exit_reason == KVM_EXIT_INTERNAL_ERROR &&
        run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION && emulation.ndata >= 3 &&
        (emulation.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
        const auto size = std::min<std::size_t>(emulation.insn_size, 15);
        text += fmt::format(", instruction {:02x}",
                            fmt::join(std::span(emulation.insn_bytes).first(size), " "));
    }
    return text;
}

}  // namespace viaduct::x86
