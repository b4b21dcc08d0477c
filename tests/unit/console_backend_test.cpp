#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "vmm/console/backend.hpp"

namespace viaduct::console {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using testing::EndsWith;
using testing::HasSubstr;

class NoLine final : public devices::InterruptLine {
public:
    void set(bool /*asserted*/) noexcept override {}
};

/// A backend with a port before it, and a directory for its files.
struct Console {
    Console() {
        std::string name = testing::TempDir() + "viaduct-console-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        directory = name;
    }
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;
    ~Console() {
        port.reset();
        backend.reset();
        std::filesystem::remove_all(directory);
    }

    [[nodiscard]] std::string path(const std::string& name) const { return directory / name; }
    void open(const std::string& spec) {
        backend = open_serial(spec, io);
        port.emplace(line, *backend);
        backend->attach(*port);
        out(2, 0x01);
    }
    void close() {
        backend->detach();
        backend.reset();
        port.reset();
    }
    void out(std::uint64_t offset, unsigned value) {
        const std::byte byte{static_cast<std::uint8_t>(value)};
        port->write(offset, {&byte, 1});
    }
    std::uint8_t in(std::uint64_t offset) {
        std::byte byte{};
        port->read(offset, {&byte, 1});
        return std::to_integer<std::uint8_t>(byte);
    }
    void print(std::string_view text) {
        for (const char c : text) out(0, static_cast<unsigned char>(c));
    }
    /// What a guest reads, the io_context running, until it is as long as wanted.
    std::string guest_reads(std::size_t count) {
        std::string text;
        run_until([&] {
            while ((in(5) & 0x01) != 0) text.push_back(static_cast<char>(in(0)));
            return text.size() >= count;
        });
        return text;
    }
    template <typename F>
    bool run_until(F&& done, std::chrono::seconds longest = 20s) {
        const auto end = Clock::now() + longest;
        while (!done()) {
            if (Clock::now() > end) return false;
            io.restart();
            io.run_one_for(2ms);
        }
        return true;
    }
    /// What a client reads from its descriptor until it is as long as wanted.
    std::string client_reads(int fd, std::size_t count) {
        std::string text;
        run_until([&] {
            std::array<char, 4096> bytes{};
            pollfd asked{fd, POLLIN, 0};
            while (text.size() < count && ::poll(&asked, 1, 0) > 0) {
                const ssize_t size = ::read(fd, bytes.data(), bytes.size());
                if (size <= 0) return true;
                text.append(bytes.data(), static_cast<std::size_t>(size));
            }
            return text.size() >= count;
        });
        return text;
    }

    boost::asio::io_context io;
    std::filesystem::path directory;
    NoLine line;
    std::unique_ptr<SerialBackend> backend;
    std::optional<devices::Serial> port;
};

std::string contents(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

std::string refusal(const std::string& spec) {
    boost::asio::io_context io;
    try {
        (void)open_serial(spec, io);
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was wrong";
}

void write_all(int fd, std::string_view text) {
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

Fd connect_to(const std::string& path) {
    Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0)
        << std::strerror(errno);
    return client;
}

TEST(SerialToNothing, TakesEverything) {
    Console console;
    console.open("none");
    console.print("hello");
    EXPECT_EQ(console.in(5), 0x60);
    EXPECT_EQ(console.backend->lost(), 0U);
}

TEST(SerialToFile, StartsAFileAnewAndNeedsNoMainLoop) {
    Console console;
    const std::string path = console.path("log");
    std::ofstream(path) << "what was there before";
    console.open("file:" + path);
    console.print("booted\n");
    EXPECT_EQ(contents(path), "booted\n");
}

TEST(SerialToFile, AFullDiskIsCounted) {
    Console console;
    console.open("file:/dev/full");
    console.print("12345");
    EXPECT_EQ(console.backend->lost(), 5U);
    EXPECT_EQ(console.in(5), 0x60) << "the guest goes on";
}

TEST(SerialToFile, RefusalsSayWhatStandsInTheWay) {
    const Console console;
    EXPECT_THAT(refusal("file:" + console.path("no/log")), EndsWith("No such file or directory"));
    EXPECT_THAT(refusal("file:" + console.directory.string()), HasSubstr("directory"));
    ASSERT_EQ(::mkfifo(console.path("fifo").c_str(), 0600), 0);
    EXPECT_THAT(refusal("file:" + console.path("fifo")), HasSubstr("start its reader first"));
}

TEST(SerialToSocket, CarriesBothWaysAndSeveralClientsOneAfterAnother) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    console.print("before anybody came\n");
    for (int i = 0; i < 3; ++i) {
        const Fd client = connect_to(path);
        if (i == 0) {
            EXPECT_EQ(console.client_reads(client.get(), 20), "before anybody came\n");
        }
        write_all(client.get(), "root\n");
        EXPECT_EQ(console.guest_reads(5), "root\n");
        console.print("welcome\n");
        EXPECT_EQ(console.client_reads(client.get(), 8), "welcome\n");
    }
    console.print("between two clients\n");
    const Fd client = connect_to(path);
    EXPECT_EQ(console.client_reads(client.get(), 20), "between two clients\n");
    EXPECT_EQ(console.backend->lost(), 0U);
}

TEST(SerialToSocket, OneClientAtATime) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    const Fd first = connect_to(path);
    write_all(first.get(), "1");
    EXPECT_EQ(console.guest_reads(1), "1");
    const Fd second = connect_to(path);
    EXPECT_THAT(console.client_reads(second.get(), 1000), HasSubstr("another client"));
    console.print("still yours");
    EXPECT_EQ(console.client_reads(first.get(), 11), "still yours");
}

TEST(SerialToSocket, WhatAClientSentBeforeItLeftIsRead) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    std::string text;
    for (int i = 0; i < 9000; ++i) text.push_back(static_cast<char>('a' + i % 26));
    write_all(connect_to(path).get(), text);
    EXPECT_EQ(console.guest_reads(text.size()), text);
    EXPECT_TRUE(console.run_until([&] {
        const Fd next = connect_to(path);
        write_all(next.get(), "!");
        return console.guest_reads(1) == "!";
    }));
}

TEST(SerialToSocket, AClientThatOnlyListensIsServed) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    const Fd client = connect_to(path);
    write_all(client.get(), "x");
    ::shutdown(client.get(), SHUT_WR);
    EXPECT_EQ(console.guest_reads(1), "x");
    console.io.run_for(50ms);  // the end of its input is seen
    console.print("listen");
    EXPECT_EQ(console.client_reads(client.get(), 6), "listen");
}

TEST(SerialToSocket, AClientThatNeverReadsHoldsTheGuestUntilItLeaves) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    {
        const Fd client = connect_to(path);
        write_all(client.get(), "1");
        EXPECT_EQ(console.guest_reads(1), "1");
        for (int i = 0; i < 1'000'000 && console.in(5) == 0x60; ++i) console.out(0, 'x');
        EXPECT_EQ(console.in(5), 0x00);
    }
    EXPECT_TRUE(console.run_until([&] { return console.in(5) == 0x60; }));
}

TEST(SerialToSocket, RemovesItsFileAndTakesOverADeadOnes) {
    Console console;
    const std::string path = console.path("serial");
    {
        const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof(address.sun_path) - 1);
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    }
    ASSERT_TRUE(std::filesystem::is_socket(path));
    console.open("unix:" + path);
    const Fd client = connect_to(path);
    console.print("hi");
    EXPECT_EQ(console.client_reads(client.get(), 2), "hi");
    struct stat found = {};
    ASSERT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777U, 0600U) << "the console is for its owner alone";
    console.close();
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(SerialToSocket, RefusalsSayWhatStandsInTheWay) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    EXPECT_THAT(refusal("unix:" + path),
                HasSubstr("in use by a running process: end it or choose"));
    EXPECT_TRUE(std::filesystem::is_socket(path)) << "it was taken away from its owner";
    std::ofstream(console.path("file")) << "precious";
    EXPECT_THAT(refusal("unix:" + console.path("file")), HasSubstr("is not a socket"));
    EXPECT_EQ(contents(console.path("file")), "precious");
    EXPECT_THAT(refusal("unix:" + console.path("no/serial")),
                HasSubstr("does the directory exist"));
    EXPECT_THAT(refusal("unix:" + std::string(200, 'x')), HasSubstr("shorter"));
}

TEST(SerialToSocket, AnOwnerTooBusyToAnswerIsNotDead) {
    const Console console;
    const std::string path = console.path("serial");
    const Fd owner(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    ASSERT_EQ(::bind(owner.get(), generic, sizeof(address)), 0);
    ASSERT_EQ(::listen(owner.get(), 0), 0);
    std::array<Fd, 4> waiting;
    for (Fd& client : waiting) {
        client = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        (void)::connect(client.get(), generic, sizeof(address));
    }
    EXPECT_THAT(refusal("unix:" + path), HasSubstr("in use by a running process"));
    EXPECT_TRUE(std::filesystem::is_socket(path));
}

TEST(SerialToPty, CarriesBothWaysAndKeepsOutputForWhoComesNext) {
    Console console;
    testing::internal::CaptureStderr();
    console.open("pty");
    const std::string said = testing::internal::GetCapturedStderr();
    ASSERT_THAT(said, testing::MatchesRegex("serial: /dev/pts/[0-9]+\n"));
    const std::string name = said.substr(8, said.size() - 9);
    console.print("before\n");
    for (int i = 0; i < 3; ++i) {
        Fd client(::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
        ASSERT_TRUE(client) << std::strerror(errno);
        EXPECT_EQ(console.client_reads(client.get(), 7), "before\n");
        write_all(client.get(), "ls\r");
        EXPECT_EQ(console.guest_reads(3), "ls\r");
        console.print("files\r\n");
        EXPECT_EQ(console.client_reads(client.get(), 7), "files\r\n");
        client.reset();
        console.print("before\n");
    }
    EXPECT_EQ(console.backend->lost(), 0U);
}

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
