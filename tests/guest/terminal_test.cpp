// The program at a person's terminal: the keys reach the guest, Ctrl-a x ends it, and however it
// ends, the terminal is as it was before.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/serialize.hpp>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/unix_listener.hpp"
#include "tests/guest/probe_run.hpp"
#include "tests/qmp_client.hpp"

namespace viaduct::test {
namespace {

/// A program that a shell starts at a terminal. The shell stays: when the first process of a
/// session ends, the kernel itself puts the terminal back, whatever the program left.
class AtTerminal {
public:
    static constexpr std::chrono::milliseconds limit{20'000};  // of every wait

    explicit AtTerminal(std::vector<std::string> command) {
        // The first line that it reads is typed when the terminal was looked at.
        const std::vector<std::string> shell{
            "/bin/sh", "-c",
            // Ctrl-C is for the program, and not for the shell.
            R"(trap : INT; read go; "$@"; echo "ended: $?"; read end)", "sh"};
        command.insert(command.begin(), shell.begin(), shell.end());
        std::vector<char*> arguments;
        arguments.reserve(command.size() + 1);
        for (std::string& argument : command) arguments.push_back(argument.data());
        arguments.push_back(nullptr);
        int terminal = -1;
        shell_ = ::forkpty(&terminal, nullptr, nullptr, nullptr);
        if (shell_ < 0) throw SystemError("forkpty");
        if (shell_ == 0) {
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        terminal_ = Fd(terminal);
        ::fcntl(terminal, F_SETFD, FD_CLOEXEC);
        found_ = modes();
        type("\n");
    }
    AtTerminal(const AtTerminal&) = delete;
    AtTerminal& operator=(const AtTerminal&) = delete;
    ~AtTerminal() {
        ::kill(-shell_, SIGKILL);  // and the program, which is in its group
        ::waitpid(shell_, nullptr, 0);
    }

    void type(std::string_view keys) const {
        EXPECT_EQ(::write(terminal_.get(), keys.data(), keys.size()),
                  static_cast<ssize_t>(keys.size()));
    }
    /// Whether the text comes onto the screen in time.
    bool shows(std::string_view text) {
        using std::chrono::milliseconds;
        const auto end = std::chrono::steady_clock::now() + limit;
        while (screen_.find(text) == std::string::npos) {
            const auto left =
                std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
            pollfd asked{terminal_.get(), POLLIN, 0};
            if (left <= milliseconds(0) || ::poll(&asked, 1, static_cast<int>(left.count())) <= 0) {
                return false;
            }
            std::array<char, 4096> bytes{};
            const ssize_t size = ::read(terminal_.get(), bytes.data(), bytes.size());
            if (size <= 0) return false;
            screen_.append(bytes.data(), static_cast<std::size_t>(size));
        }
        return true;
    }
    bool ends_with(int status) { return shows("ended: " + std::to_string(status) + "\r\n"); }
    [[nodiscard]] const std::string& screen() const { return screen_; }

    /// Whether the terminal is as the program found it.
    [[nodiscard]] bool is_as_found() const {
        const termios now = modes();
        return now.c_iflag == found_.c_iflag && now.c_oflag == found_.c_oflag &&
               now.c_cflag == found_.c_cflag && now.c_lflag == found_.c_lflag &&
               std::ranges::equal(now.c_cc, found_.c_cc);
    }

private:
    /// Asked at this end, Linux tells of the other.
    [[nodiscard]] termios modes() const {
        termios found = {};
        EXPECT_EQ(::tcgetattr(terminal_.get(), &found), 0);
        return found;
    }

    pid_t shell_ = -1;
    Fd terminal_;
    termios found_ = {};
    std::string screen_;
};

void expect_typed_line_is_echoed(const std::string& scenario) {
    AtTerminal terminal(probe_command({.scenario = scenario}));
    ASSERT_TRUE(terminal.shows("ready\r\n")) << terminal.screen();
    EXPECT_FALSE(terminal.is_as_found()) << "every key is the guest's";
    terminal.type("hello\r");
    EXPECT_TRUE(terminal.shows("echo: hello\r\n")) << terminal.screen();
    EXPECT_TRUE(terminal.ends_with(probe_passed)) << terminal.screen();
    EXPECT_TRUE(terminal.is_as_found());
}

TEST(Terminal, WhatIsTypedReachesAGuestThatPolls) {
    expect_typed_line_is_echoed("serial-echo seconds=20");
}

TEST(Terminal, WhatIsTypedReachesAGuestThatTakesInterrupts) {
    expect_typed_line_is_echoed("serial-echo seconds=20 irq=on");
}

TEST(Terminal, CtrlAXEndsTheMachineAndClientsHearWhoDidIt) {
    const TemporaryDirectory directory;
    const std::string path = directory.path("qmp");
    AtTerminal terminal(probe_command({.scenario = "spin", .options = {"--qmp", "unix:" + path}}));
    tests::QmpClient client(path, AtTerminal::limit);
    client.negotiate();
    ASSERT_TRUE(terminal.shows("tick 1\r\n")) << terminal.screen();
    EXPECT_FALSE(terminal.is_as_found());
    terminal.type("\x01x");
    const auto event = client.wait_event("SHUTDOWN", AtTerminal::limit);
    EXPECT_EQ(event.at("data").at("reason"), "host-ui");
    EXPECT_EQ(event.at("data").at("guest"), false);
    EXPECT_TRUE(terminal.ends_with(0)) << terminal.screen();
    EXPECT_TRUE(terminal.is_as_found());
}

TEST(Terminal, CtrlCEndsAStartThatWaits) {
    const TemporaryDirectory directory;
    const std::string path = directory.path("nbd");
    const UnixListener silent("a server that says nothing", path);
    AtTerminal terminal(probe_command(
        {.scenario = "spin", .options = {"--device", "vdpa,image=nbd+unix:///?socket=" + path}}));
    pollfd asked{silent.fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&asked, 1, static_cast<int>(AtTerminal::limit.count())), 1)
        << terminal.screen();
    EXPECT_TRUE(terminal.is_as_found());
    terminal.type("\x03");
    EXPECT_TRUE(terminal.ends_with(128 + SIGINT)) << terminal.screen();
}

TEST(Terminal, IsLeftAsItWasByAStartThatIsRefused) {
    AtTerminal terminal(probe_command(
        {.scenario = "spin", .options = {"--device", "vdpa,image=/nonexistent.raw"}}));
    EXPECT_TRUE(terminal.shows("/nonexistent.raw")) << terminal.screen();
    EXPECT_TRUE(terminal.ends_with(1)) << terminal.screen();
    EXPECT_TRUE(terminal.is_as_found());
}

}  // namespace
}  // namespace viaduct::test
