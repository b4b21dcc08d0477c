#include "vmm/console/terminal.hpp"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>

#include "base/error.hpp"

namespace viaduct::console {
namespace {

// What a signal handler needs: plain objects, written before `raw` is set, read after it was seen.
int terminal_fd = -1;
termios found_modes;
std::atomic<bool> raw{false};
static_assert(std::atomic<bool>::is_always_lock_free);

struct Watched {
    int number;
    bool fault;   // raised by an instruction, which runs again when the handler returns
    bool polite;  // somebody asks the process to end; the VMM may have its own handler
    struct sigaction former;
};
std::array<Watched, 12> watched{{
    {SIGSEGV, true, false, {}},
    {SIGBUS, true, false, {}},
    {SIGILL, true, false, {}},
    {SIGFPE, true, false, {}},
    {SIGABRT, false, false, {}},
    {SIGSYS, false, false, {}},
    {SIGTRAP, false, false, {}},
    {SIGQUIT, false, true, {}},
    {SIGTERM, false, true, {}},
    {SIGINT, false, true, {}},
    {SIGHUP, false, true, {}},
    {SIGALRM, false, true, {}},
}};

/// Async-signal-safe, as tcgetpgrp() and tcsetattr() are (signal-safety(7)).
void restore() noexcept {
    if (!raw.exchange(false)) return;
    const int error = errno;
    if (RawTerminal::in_foreground(terminal_fd)) ::tcsetattr(terminal_fd, TCSANOW, &found_modes);
    errno = error;
}

/// Puts the terminal back and lets the signal do what it would have done.
void on_fatal_signal(int number, siginfo_t* info, void* /*context*/) {
    restore();
    for (const Watched& signal : watched) {
        if (signal.number != number) continue;
        ::sigaction(number, &signal.former, nullptr);
        if (!signal.fault || info->si_code <= 0) ::raise(number);
    }
}

bool is_ours(const struct sigaction& action) {
    return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_fatal_signal;
}

void watch_signals() {
    struct sigaction action = {};
    action.sa_sigaction = on_fatal_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaddset(&action.sa_mask, SIGTTOU);
    for (Watched& signal : watched) {
        ::sigaction(signal.number, nullptr, &signal.former);
        const bool handled =
            (signal.former.sa_flags & SA_SIGINFO) != 0 || signal.former.sa_handler != SIG_DFL;
        if (!(signal.polite && handled)) ::sigaction(signal.number, &action, nullptr);
    }
}

void unwatch_signals() {
    for (const Watched& signal : watched) {
        struct sigaction current = {};
        ::sigaction(signal.number, nullptr, &current);
        if (is_ours(current)) ::sigaction(signal.number, &signal.former, nullptr);
    }
}

}  // namespace

RawTerminal::RawTerminal(int fd) {
    if (::tcgetattr(fd, &found_modes) != 0) throw SystemError("tcgetattr of the terminal");
    terminal_fd = fd;
    static const int registered = std::atexit(restore);
    if (registered != 0) throw Error("atexit: no room for a handler to restore the terminal");
    watch_signals();
    enter();
}

RawTerminal::~RawTerminal() {
    leave();
    unwatch_signals();
}

void RawTerminal::enter() noexcept {
    if (raw || !in_foreground(terminal_fd)) return;
    termios modes = found_modes;
    modes.c_iflag &=
        ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    modes.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    modes.c_cflag = (modes.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    raw = true;  // before the change, so that a signal in between restores
    ::tcsetattr(terminal_fd, TCSANOW, &modes);
}

void RawTerminal::enter_again() noexcept {
    raw = false;
    enter();
}

void RawTerminal::leave() noexcept {
    restore();
}

bool RawTerminal::in_foreground(int fd) noexcept {
    const pid_t group = ::tcgetpgrp(fd);
    // Without job control on it (not the controlling terminal) nobody else can have it.
    return group <= 0 || group == ::getpgrp();
}

}  // namespace viaduct::console
