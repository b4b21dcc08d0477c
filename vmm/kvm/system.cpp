#include "vmm/kvm/system.hpp"

#include <fcntl.h>

#include <cstring>

#include "vmm/kvm/ioctl.hpp"
#include "vmm/kvm/variable_array.hpp"

namespace viaduct::kvm {
namespace {

constexpr int api_version = 12;  // the only one since Linux 2.6.22

Fd open_kvm() {
    Fd fd(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
    if (fd) return fd;
    if (errno == ENOENT) {
        throw Error(
            "/dev/kvm does not exist: load the kvm_intel or kvm_amd module, and enable "
            "virtualization in the firmware (or nested virtualization in the hypervisor)");
    }
    if (errno == EACCES) {
        throw Error(
            "/dev/kvm may not be opened by this user: add the user to the group 'kvm' "
            "(usermod -aG kvm USER) and log in again");
    }
    throw SystemError("cannot open /dev/kvm");
}

}  // namespace

System::System() : fd_(open_kvm()) {
    const int version = VIADUCT_KVM_IOCTL(fd_.get(), KVM_GET_API_VERSION, 0);
    if (version != api_version) {
        throw Error("/dev/kvm speaks API version {}, but {} is needed", version, api_version);
    }
}

int System::extension(int capability) const noexcept {
    const int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
    return value < 0 ? 0 : value;
}

Fd System::create_vm() const {
    return Fd(VIADUCT_KVM_IOCTL(fd_.get(), KVM_CREATE_VM, 0));
}

std::size_t System::vcpu_mmap_size() const {
    return static_cast<std::size_t>(VIADUCT_KVM_IOCTL(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0));
}

std::vector<kvm_cpuid_entry2> System::supported_cpuid() const {
    constexpr std::uint32_t capacity = 256;
    VariableArray<kvm_cpuid2, kvm_cpuid_entry2> cpuid(capacity);
    cpuid.header().nent = capacity;
    VIADUCT_KVM_IOCTL(fd_.get(), KVM_GET_SUPPORTED_CPUID, &cpuid.header());
    const auto entries = cpuid.entries().first(cpuid.header().nent);
    return {entries.begin(), entries.end()};
}

std::vector<std::uint32_t> System::msr_indices() const {
    kvm_msr_list size{};
    // The first call fails with E2BIG on purpose: it tells how many there are.
    (void)::ioctl(fd_.get(), KVM_GET_MSR_INDEX_LIST, &size);
    VariableArray<kvm_msr_list, std::uint32_t> list(size.nmsrs);
    list.header().nmsrs = size.nmsrs;
    VIADUCT_KVM_IOCTL(fd_.get(), KVM_GET_MSR_INDEX_LIST, &list.header());
    return {list.entries().begin(), list.entries().end()};
}

}  // namespace viaduct::kvm
