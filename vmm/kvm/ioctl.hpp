/// One checked ioctl for every KVM call: the error names the request.
#pragma once

#include <sys/ioctl.h>

#include "base/error.hpp"

namespace viaduct::kvm {

template <typename Argument>
int checked_ioctl(int fd, const char* name, unsigned long request, Argument argument) {
    const int result = ::ioctl(fd, request, argument);
    if (result < 0) throw SystemError(name);
    return result;
}

}  // namespace viaduct::kvm

/// `VIADUCT_KVM_IOCTL(fd, KVM_RUN, 0)`: the request's own name in the error.
#define VIADUCT_KVM_IOCTL(fd, request, argument) \
    ::viaduct::kvm::checked_ioctl((fd), #request, (request), (argument))
