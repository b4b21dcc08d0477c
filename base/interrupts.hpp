/// The signals with which people end a program, as a descriptor: while the object lives they wait
/// there, so that a view that goes on for ever can end in order.
#pragma once

#include <csignal>

#include "base/fd.hpp"

namespace viaduct {

/// SIGINT, SIGTERM and SIGHUP of the calling thread.
class Interrupts {
public:
    Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;
    /// Takes those that came, and no further one waits.
    ~Interrupts();

    /// Readable when one has come.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

private:
    sigset_t before_{};
    Fd fd_;
};

}  // namespace viaduct
