#include "base/interrupts.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.hpp"

namespace viaduct {

Interrupts::Interrupts() {
    sigset_t signals{};
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
    fd_ = Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) throw SystemError("signalfd");
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
}

Interrupts::~Interrupts() {
    signalfd_siginfo signal{};
    while (::read(fd_.get(), &signal, sizeof signal) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace viaduct
