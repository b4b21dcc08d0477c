/// An eventfd (eventfd(2)), non-blocking, as a notification between threads, KVM and the kernel's
/// vhost. Its count is a hint that something happened at least once, never how often.
#pragma once

#include "base/fd.hpp"

namespace viaduct {

class EventFd {
public:
    /// Throws SystemError when the process is out of descriptors.
    EventFd();

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    void signal() const noexcept;
    /// Consumes what was signalled; true when there was something.
    [[nodiscard]] bool take() const noexcept;
    /// True when something was signalled and nobody took it yet; consumes nothing.
    [[nodiscard]] bool pending() const noexcept;

private:
    Fd fd_;
};

}  // namespace viaduct
