#include "base/own_descriptor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace viaduct {

Fd own_descriptor(int fd, int access) {
    struct stat found {};
    if (::fstat(fd, &found) != 0) return {};
    if (S_ISFIFO(found.st_mode) || S_ISCHR(found.st_mode)) {
        const auto path = fmt::format("/proc/self/fd/{}", fd);
        Fd reopened(::open(path.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (reopened) return reopened;
    }
    return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

}  // namespace viaduct
