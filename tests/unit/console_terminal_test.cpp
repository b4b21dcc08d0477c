#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "base/fd.hpp"
#include "vmm/console/terminal.hpp"

namespace viaduct::console {
namespace {

struct Pty {
    Pty() {
        int master_fd = -1;
        int slave_fd = -1;
        if (::openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr) != 0) std::abort();
        master = Fd(master_fd);
        slave = Fd(slave_fd);
    }
    [[nodiscard]] termios modes() const {
        termios found = {};
        EXPECT_EQ(::tcgetattr(slave.get(), &found), 0);
        return found;
    }
    [[nodiscard]] bool is_raw() const { return (modes().c_lflag & ICANON) == 0; }

    Fd master;
    Fd slave;
};

bool operator==(const termios& a, const termios& b) {
    return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag &&
           a.c_lflag == b.c_lflag && std::equal(std::begin(a.c_cc), std::end(a.c_cc), b.c_cc);
}

constexpr int was_not_raw = 77;

/// Runs `end` in a child whose terminal is raw; gives the child's wait status.
int child_ends_by(const Pty& pty, const std::function<void()>& end) {
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit no_core{};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::close(STDERR_FILENO);  // what a sanitizer says of a crash on purpose
        // A shell's job in the background ignores them, and so would what it runs.
        for (const int number : {SIGINT, SIGQUIT, SIGHUP}) ::signal(number, SIG_DFL);
        const RawTerminal terminal(pty.slave.get());
        if (!pty.is_raw()) ::_exit(was_not_raw);
        end();
        ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == was_not_raw);
    return status;
}

TEST(RawTerminal, GivesEveryKeyToTheGuestAndPutsTheTerminalBack) {
    const Pty pty;
    const termios before = pty.modes();
    {
        const RawTerminal terminal(pty.slave.get());
        const termios raw = pty.modes();
        EXPECT_EQ(raw.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0U);
        EXPECT_EQ(raw.c_iflag & (ICRNL | IXON), 0U);
        EXPECT_EQ(raw.c_oflag & OPOST, before.c_oflag & OPOST)
            << "messages of the VMM stay legible";
    }
    EXPECT_TRUE(pty.modes() == before);
}

TEST(RawTerminal, PutsItBackOnEverySignalThatEndsTheProcess) {
    for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGQUIT,
                             SIGTERM, SIGINT, SIGHUP, SIGALRM}) {
        const Pty pty;
        const termios before = pty.modes();
        const int status = child_ends_by(pty, [&] {
            ::kill(::getpid(), number);
            ::pause();
        });
        EXPECT_TRUE(pty.modes() == before) << ::strsignal(number);
        // A sanitizer may turn a crash into an exit; either way it is no success.
        EXPECT_NE(status, 0) << ::strsignal(number);
        if (number == SIGTERM) {
            EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == number);
        }
    }
}

TEST(RawTerminal, PutsItBackOnACrash) {
    const Pty pty;
    const termios before = pty.modes();
    const int status = child_ends_by(pty, [] {
        void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *static_cast<volatile int*>(page) = 1;
    });
    EXPECT_NE(status, 0);
    EXPECT_TRUE(pty.modes() == before);
}

TEST(RawTerminal, PutsItBackOnAnExceptionThatNobodyCatches) {
    const Pty pty;
    const termios before = pty.modes();
    const int status = child_ends_by(
        pty, [] { std::thread([] { throw std::runtime_error("nobody catches it"); }).join(); });
    EXPECT_NE(status, 0);
    EXPECT_TRUE(pty.modes() == before);
}

TEST(RawTerminal, PutsItBackOnExit) {
    const Pty pty;
    const termios before = pty.modes();
    const int status = child_ends_by(pty, [] { std::exit(3); });
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_TRUE(pty.modes() == before);
}

TEST(RawTerminal, LeavesSignalsToWhoHandlesThem) {
    const Pty pty;
    const int status = [&] {
        struct sigaction former = {};
        ::sigaction(SIGTERM, nullptr, &former);
        ::signal(SIGTERM, [](int) {});
        const int result = child_ends_by(pty, [&] {
            ::raise(SIGTERM);
            ::_exit(pty.is_raw() ? 0 : 1);
        });
        ::sigaction(SIGTERM, &former, nullptr);
        return result;
    }();
    EXPECT_EQ(status, 0) << "an orderly shutdown was taken away";
}

TEST(RawTerminal, GivesSignalsBack) {
    const Pty pty;
    { const RawTerminal terminal(pty.slave.get()); }
    struct sigaction found = {};
    ::sigaction(SIGTERM, nullptr, &found);
    EXPECT_EQ(found.sa_handler, SIG_DFL);
}

TEST(RawTerminal, CanBeLeftAndEnteredAgain) {
    const Pty pty;
    const termios before = pty.modes();
    RawTerminal terminal(pty.slave.get());
    terminal.leave();
    EXPECT_TRUE(pty.modes() == before);
    terminal.enter();
    EXPECT_TRUE(pty.is_raw());
    ::tcsetattr(pty.slave.get(), TCSANOW, &before);  // as a shell does while the VMM is stopped
    terminal.enter_again();
    EXPECT_TRUE(pty.is_raw());
}

/// In a session whose terminal is the pty, a process in the background; its exit status says what
/// went wrong, 0 is nothing.
int run_in_background(const Pty& pty) {
    RawTerminal terminal(pty.slave.get());
    if (RawTerminal::in_foreground(pty.slave.get())) return 1;
    if (pty.is_raw()) return 2;
    ::signal(SIGTTOU, SIG_IGN);
    if (::tcsetpgrp(pty.slave.get(), ::getpgrp()) != 0) return 3;
    ::signal(SIGTTOU, SIG_DFL);
    terminal.enter();
    return pty.is_raw() ? 0 : 4;
}

TEST(RawTerminal, TouchesTheTerminalOnlyInTheForeground) {
    const Pty pty;
    const pid_t session = ::fork();
    if (session == 0) {
        ::setsid();
        ::ioctl(pty.slave.get(), TIOCSCTTY, 0);
        const pid_t background = ::fork();
        if (background == 0) {
            ::setpgid(0, 0);
            ::_exit(run_in_background(pty));
        }
        int status = 0;
        ::waitpid(background, &status, WUNTRACED);
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(session, &status, 0), session);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace viaduct::console
