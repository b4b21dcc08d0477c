// A vCPU's state on a real vCPU, where no guest of the other tests brings it: what a reset goes
// back from, and what is said of a vCPU that tells nothing any more.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "vmm/arch/x86_64/cpu_state.hpp"
#include "vmm/arch/x86_64/cpuid.hpp"
#include "vmm/arch/x86_64/exits.hpp"
#include "vmm/kvm/ioctl.hpp"

namespace viaduct::x86 {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t cpuid_vmx = 1U << 5;  // leaf 1, ECX
constexpr std::uint32_t cpuid_svm = 1U << 2;  // leaf 8000_0001H, ECX
constexpr std::uint64_t efer_svme = 1U << 12;

class VcpuState : public testing::Test {
protected:
    VcpuState() { vcpu_.set_cpuid(vcpu_cpuid(cpuid_, 0, 1)); }

    static kvm::Vm make_vm(const kvm::System& system) {
        kvm::Vm vm(system);
        vm.create_irqchip();
        return vm;
    }
    [[nodiscard]] bool has(std::uint32_t leaf, std::uint32_t in_ecx) const {
        const auto found = std::ranges::find(cpuid_, leaf, &kvm_cpuid_entry2::function);
        return found != cpuid_.end() && (found->ecx & in_ecx) != 0;
    }

    /// As by the guest's VMXON.
    void enter_vmx_operation() const {
        kvm_nested_state nested{};
        nested.format = KVM_STATE_NESTED_FORMAT_VMX;
        nested.size = sizeof nested;
        nested.hdr.vmx.vmxon_pa = 0x1000;
        nested.hdr.vmx.vmcs12_pa = ~0ULL;
        VIADUCT_KVM_IOCTL(vcpu_.fd(), KVM_SET_NESTED_STATE, &nested);
    }
    void set_svme() const {
        kvm_sregs registers = vcpu_.special_registers();
        registers.efer |= efer_svme;
        vcpu_.set_special_registers(registers);
    }

    kvm::System system_;
    std::vector<kvm_cpuid_entry2> cpuid_ = system_.supported_cpuid();
    kvm::Vm vm_ = make_vm(system_);
    kvm::Vcpu vcpu_{system_, vm_, 0};
};

TEST_F(VcpuState, OfAGuestThatMayRunMachinesOfItsOwnGoesBackToWhatItWas) {
    const CpuState power_on = save_cpu_state(vcpu_, system_.msr_indices());
    // A host lets its guests do the one or the other, or (nested=0) neither.
    if (has(1, cpuid_vmx)) enter_vmx_operation();
    if (has(0x8000'0001, cpuid_svm)) set_svme();
    EXPECT_NO_THROW(restore_cpu_state(vcpu_, power_on));
    EXPECT_EQ(vcpu_.special_registers().efer, power_on.special_registers.efer);
    EXPECT_EQ(vcpu_.special_registers().cr4, power_on.special_registers.cr4);
}

/// In another process than its own KVM refuses everything, as it does for a VM that it has given
/// up.
bool is_described_in_another_process(kvm::Vcpu& vcpu) {
    const pid_t child = ::fork();
    if (child == 0) {
        bool described = false;
        try {
            const std::string text = describe_failure(vcpu);
            described = text.starts_with("vCPU 0: KVM exit reason ") &&
                        text.find(" at rip ") == std::string::npos;
        } catch (const std::exception&) {
            ::_exit(2);
        }
        ::_exit(described ? 0 : 1);
    }
    int status = -1;
    return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST_F(VcpuState, IsLeftOutOfAFailuresDescriptionWhenKvmDoesNotTellIt) {
    EXPECT_THAT(describe_failure(vcpu_), HasSubstr(" at rip 0xfff0"));
    EXPECT_TRUE(is_described_in_another_process(vcpu_));
}

}  // namespace
}  // namespace viaduct::x86
