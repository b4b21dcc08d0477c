#include "base/event_fd.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

#include "base/error.hpp"

namespace viaduct {

EventFd::EventFd() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (fd_) return;
    throw SystemError(errno == EMFILE ? "eventfd: raise `ulimit -n`" : "eventfd");
}

void EventFd::signal() const noexcept {
    // The only failure is a counter at its limit, which is already a signal.
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
}

bool EventFd::take() const noexcept {
    std::uint64_t count = 0;
    return ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

bool EventFd::pending() const noexcept {
    pollfd poll{fd_.get(), POLLIN, 0};
    return ::poll(&poll, 1, 0) == 1;
}

}  // namespace viaduct
