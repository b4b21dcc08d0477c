#include "base/timer_fd.hpp"

#include <sys/timerfd.h>

#include <algorithm>
#include <cstdint>

#include "base/error.hpp"

namespace viaduct {

TimerFd::TimerFd() : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    if (!fd_) throw SystemError("timerfd_create");
}

void TimerFd::arm(std::chrono::nanoseconds delay) const noexcept {
    using namespace std::chrono_literals;
    delay = std::max(delay, std::chrono::nanoseconds(1ns));  // zero would disarm
    itimerspec spec{};
    spec.it_value.tv_sec = delay / 1s;
    spec.it_value.tv_nsec = (delay % 1s).count();
    ::timerfd_settime(fd_.get(), 0, &spec, nullptr);
}

bool TimerFd::take() const noexcept {
    std::uint64_t expirations = 0;
    return ::read(fd_.get(), &expirations, sizeof expirations) == sizeof expirations;
}

}  // namespace viaduct
