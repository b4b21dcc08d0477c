#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/fd.hpp"
#include "tests/unit/console_world.hpp"

namespace viaduct::console {
namespace {

using namespace std::chrono_literals;

/// Standard input and output are a whole process's: a child has them, and ends with what it says.
struct SerialToStdio : testing::Test {
    /// Runs a guest that echoes what it reads, behind `stdio`, until it read a line with a dot or
    /// the person quits. Exit status 1 for the former, 2 for the latter. It prints that many lines
    /// first, or one that says that it is ready.
    [[noreturn]] static void run_guest(int in_fd, int out_fd, int lines = 0) {
        ::dup2(in_fd, STDIN_FILENO);
        ::dup2(out_fd, STDOUT_FILENO);
        bool quit = false;
        bool done = false;
        {
            Console console;
            console.open("stdio");
            console.backend->on_quit([&] { quit = true; });
            for (int i = 1; i <= lines; ++i) console.print("line " + std::to_string(i) + "\n");
            if (lines == 0) console.print("ready\n");
            console.run_until(
                [&] {
                    while ((console.in(5) & 0x01) != 0) {
                        const unsigned byte = console.in(0);
                        console.out(0, byte);
                        done |= byte == '.';
                    }
                    return quit || done;
                },
                20s);
        }
        ::_exit(quit ? 2 : done ? 1 : 3);
    }

    static int wait_for(pid_t child) {
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    static std::string read_until(int fd, std::string_view end) {
        std::string text;
        pollfd asked{fd, POLLIN, 0};
        while (!text.ends_with(end) && ::poll(&asked, 1, 10'000) > 0) {
            char c = 0;
            if (::read(fd, &c, 1) != 1) break;
            text.push_back(c);
        }
        return text;
    }
};

TEST_F(SerialToStdio, OnATerminalEveryKeyIsTheGuestsButTheEscapes) {
    int master_fd = -1;
    int slave_fd = -1;
    ASSERT_EQ(::openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr), 0);
    const Fd master(master_fd);
    const Fd slave(slave_fd);
    termios before = {};
    ::tcgetattr(slave_fd, &before);
    const pid_t child = ::fork();
    if (child == 0) run_guest(slave_fd, slave_fd);
    EXPECT_EQ(read_until(master_fd, "ready\r\n"), "ready\r\n");
    termios raw = {};
    ::tcgetattr(slave_fd, &raw);
    EXPECT_EQ(raw.c_lflag & (ICANON | ECHO | ISIG), 0U);
    write_all(master_fd,
              "\x03\x1a\x01"
              "aZ");
    EXPECT_EQ(read_until(master_fd, "Z"), "\x03\x1a\x01Z");
    write_all(master_fd, "\x01x");
    EXPECT_EQ(wait_for(child), 2);
    termios after = {};
    ::tcgetattr(slave_fd, &after);
    EXPECT_EQ(after.c_lflag, before.c_lflag);
    EXPECT_EQ(after.c_iflag, before.c_iflag);
    EXPECT_EQ(::fcntl(slave_fd, F_GETFL) & O_NONBLOCK, 0) << "the shell's descriptor was changed";
}

TEST_F(SerialToStdio, ATerminalIsLeftAsItIsUntilAMachineHasIt) {
    int master_fd = -1;
    int slave_fd = -1;
    ASSERT_EQ(::openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr), 0);
    const Fd master(master_fd);
    const Fd slave(slave_fd);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(slave_fd, STDIN_FILENO);
        ::dup2(slave_fd, STDOUT_FILENO);
        boost::asio::io_context io;
        const auto backend = open_serial("stdio", io);
        termios modes = {};
        ::tcgetattr(slave_fd, &modes);
        const bool as_it_was = (modes.c_lflag & (ICANON | ISIG)) == (ICANON | ISIG);
        ::_exit(backend && as_it_was ? 0 : 1);
    }
    EXPECT_EQ(wait_for(child), 0);
}

TEST_F(SerialToStdio, ATerminalThatTakesNothingStopsNeitherTheGuestNorTheKeys) {
    int master_fd = -1;
    int slave_fd = -1;
    ASSERT_EQ(::openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr), 0);
    const Fd master(master_fd);
    const Fd slave(slave_fd);
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        run_guest(slave_fd, slave_fd, 50'000);
    }
    EXPECT_EQ(read_until(master_fd, "line 1000\r\n").substr(0, 8), "line 1\r\n");
    write_all(master_fd, "\x01x");
    EXPECT_EQ(wait_for(child), 2);
}

TEST_F(SerialToStdio, StoppedAndContinuedThePersonHasTheTerminalInBetween) {
    int master_fd = -1;
    int slave_fd = -1;
    ASSERT_EQ(::openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr), 0);
    const Fd master(master_fd);
    const Fd slave(slave_fd);
    const auto is_raw = [&] {
        termios modes = {};
        ::tcgetattr(slave_fd, &modes);
        return (modes.c_lflag & ICANON) == 0;
    };
    const pid_t child = ::fork();
    if (child == 0) run_guest(slave_fd, slave_fd);
    EXPECT_EQ(read_until(master_fd, "ready\r\n"), "ready\r\n");
    ::kill(child, SIGTSTP);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
    ASSERT_TRUE(WIFSTOPPED(status));
    EXPECT_FALSE(is_raw());
    ::kill(child, SIGCONT);
    for (int i = 0; i < 500 && !is_raw(); ++i) ::usleep(10'000);
    EXPECT_TRUE(is_raw());
    write_all(master_fd, "\x01x");
    EXPECT_EQ(wait_for(child), 2);
}

TEST_F(SerialToStdio, PipesAreTakenByteForByte) {
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    ASSERT_EQ(::pipe2(to.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(from.data(), O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) run_guest(to[0], from[1]);
    Fd writer(to[1]);
    const Fd reader(from[0]);
    ::close(to[0]);
    ::close(from[1]);
    std::string text;
    for (int i = 0; i < 100'000; ++i) text.push_back(static_cast<char>('a' + i % 26));
    text.push_back('.');
    write_all(writer.get(), text);
    writer.reset();
    EXPECT_EQ(read_until(reader.get(), "."), "ready\n" + text);
    EXPECT_EQ(wait_for(child), 1);
}

TEST_F(SerialToStdio, AFileIsReadToItsEndAndAFileIsAppendedTo) {
    const Console files;
    std::ofstream(files.path("in")) << "echo me.";
    std::ofstream(files.path("out")) << "first\n";
    const Fd in(::open(files.path("in").c_str(), O_RDONLY));
    const Fd out(::open(files.path("out").c_str(), O_WRONLY | O_APPEND));
    const pid_t child = ::fork();
    if (child == 0) run_guest(in.get(), out.get());
    EXPECT_EQ(wait_for(child), 1);
    EXPECT_EQ(contents(files.path("out")), "first\nready\necho me.");
}

TEST_F(SerialToStdio, WithoutInputTheGuestStillSpeaks) {
    std::array<int, 2> from{};
    ASSERT_EQ(::pipe2(from.data(), O_CLOEXEC), 0);
    const Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const pid_t child = ::fork();
    if (child == 0) run_guest(nothing.get(), from[1]);
    ::close(from[1]);
    const Fd reader(from[0]);
    EXPECT_EQ(read_until(reader.get(), "ready\n"), "ready\n");
    ::kill(child, SIGKILL);
    EXPECT_EQ(wait_for(child), 128 + SIGKILL);
}

}  // namespace
}  // namespace viaduct::console
