#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/unit/console_world.hpp"

namespace viaduct::console {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;

std::string refusal(const std::string& spec) {
    boost::asio::io_context io;
    try {
        (void)open_serial(spec, io);
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was wrong";
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

TEST(SerialToFile, AFileIsLeftAsItIsUntilAMachineHasIt) {
    Console console;
    const std::string path = console.path("log");
    std::ofstream(path) << "what was there before";
    { const auto refused = open_serial("file:" + path, console.io); }
    EXPECT_EQ(contents(path), "what was there before");
    console.open("file:" + path);
    EXPECT_EQ(contents(path), "");
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
    EXPECT_THAT(refusal("file:" + console.path("")), HasSubstr("directory"));
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
                HasSubstr("--serial unix:" + path + ": in use by a running process: end it"));
    EXPECT_TRUE(std::filesystem::is_socket(path)) << "it was taken away from its owner";
    std::ofstream(console.path("file")) << "precious";
    EXPECT_THAT(refusal("unix:" + console.path("file")), HasSubstr("is not a socket"));
    EXPECT_EQ(contents(console.path("file")), "precious");
    EXPECT_THAT(refusal("unix:" + console.path("no/serial")),
                HasSubstr(console.path("no") + " does not exist: create it"));
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

/// The process can have no descriptor beyond those it has, as long as this lives. (UBSan's vptr
/// check makes a pipe now and then and aborts without one: the sanitizers' preset leaves it out.)
class NoMoreDescriptors {
public:
    NoMoreDescriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        // The lowest that is free is the next to be given out.
        const Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        const rlimit limit{static_cast<rlim_t>(next.get()), before_.rlim_max};
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    NoMoreDescriptors(const NoMoreDescriptors&) = delete;
    NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;
    ~NoMoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

TEST(SerialToSocket, AClientThatCannotBeAcceptedYetWaitsAndCostsNothing) {
    Console console;
    const std::string path = console.path("serial");
    console.open("unix:" + path);
    const Fd client = connect_to(path);
    write_all(client.get(), "x");
    std::size_t wakes = 0;
    testing::internal::CaptureStderr();
    {
        const NoMoreDescriptors scarcity;
        wakes = console.io.run_for(200ms);
    }
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("--serial unix:" + path + ": accepting a client: Too many open files"));
    EXPECT_GE(wakes, 1U);
    EXPECT_LT(wakes, 10U);
    EXPECT_EQ(console.guest_reads(1), "x");
}

TEST(SerialToPty, IsNamedWhenAMachineHasIt) {
    boost::asio::io_context io;
    testing::internal::CaptureStderr();
    { const auto refused = open_serial("pty", io); }
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
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

}  // namespace
}  // namespace viaduct::console
