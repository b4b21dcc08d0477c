/// A one-shot timer on the monotonic clock whose expiry is a readable descriptor
/// (timerfd_create(2)).
#pragma once

#include <chrono>

#include "base/fd.hpp"

namespace viaduct {

class TimerFd {
public:
    /// Throws SystemError when the process is out of descriptors.
    TimerFd();

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Replaces what was armed before.
    void arm(std::chrono::nanoseconds delay) const noexcept;
    /// Consumes an expiry; true when there was one.
    [[nodiscard]] bool take() const noexcept;

private:
    Fd fd_;
};

}  // namespace viaduct
