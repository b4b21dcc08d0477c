// QMP on a pair of descriptors, as `--qmp stdio` has it.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/own_descriptor.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/unit/qmp_conversation.hpp"
#include "vmm/control/byte_stream.hpp"
#include "vmm/control/connection.hpp"

namespace viaduct::control {
namespace {

using testing::HasSubstr;

constexpr auto negotiation = R"({"execute":"qmp_capabilities"})";
constexpr auto question = R"({"execute":"query-name","id":"last"})";

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw SystemError("pipe");
        read_end = Fd(ends[0]);
        write_end = Fd(ends[1]);
    }
    Fd read_end;
    Fd write_end;
};

void write_all(int fd, std::string_view bytes) {
    ASSERT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

std::string read_to_end(int fd) {
    std::string text;
    std::array<char, 4096> chunk{};
    while (true) {
        const ssize_t size = ::read(fd, chunk.data(), chunk.size());
        if (size <= 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(size));
    }
}

/// Serves one client on the two descriptors until its conversation ends.
void serve(Fd in, Fd out) {
    boost::asio::io_context io;
    CommandTable table;
    add_sample_commands(table);
    table.add({.name = "say-much", .doc = "", .run = [](const Arguments&) -> boost::json::value {
                   return boost::json::string(500'000, 'x');
               }});
    const auto connection = std::make_shared<Connection>(
        io.get_executor(), descriptor_stream(io.get_executor(), std::move(in), std::move(out)),
        table, Limits{}, "stdio", [] {});
    bool served = false;
    boost::asio::co_spawn(io, connection->serve(),
                          [&](const std::exception_ptr&) { served = true; });
    io.run();
    EXPECT_TRUE(served);
}

bool is_non_blocking(const Fd& fd) {
    return (::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0;
}

TEST(QmpStdio, AnswersOnPipesAndEndsWithItsInput) {
    Pipe to;
    Pipe from;
    write_all(to.write_end.get(), negotiation);
    write_all(to.write_end.get(), question);
    to.write_end.reset();
    serve(std::move(to.read_end), std::move(from.write_end));
    const auto said = read_to_end(from.read_end.get());
    EXPECT_THAT(said, testing::StartsWith(R"({"QMP": )"));
    EXPECT_THAT(said, testing::EndsWith("{\"return\": {}, \"id\": \"last\"}\r\n"));
}

TEST(QmpStdio, WaitsForAReaderThatIsSlowerThanItsAnswers) {
    Pipe to;
    Pipe from;
    write_all(to.write_end.get(), negotiation);
    write_all(to.write_end.get(), R"({"execute":"say-much"})");
    write_all(to.write_end.get(), question);
    to.write_end.reset();
    std::string said;
    std::thread reader([&, end = std::move(from.read_end)] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        said = read_to_end(end.get());
    });
    serve(std::move(to.read_end), std::move(from.write_end));
    reader.join();
    EXPECT_GT(said.size(), 500'000U);
    EXPECT_THAT(said, testing::EndsWith("{\"return\": {}, \"id\": \"last\"}\r\n"));
}

TEST(QmpStdio, AnswersOnOneSocketForBothDirections) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const Fd ours(ends[0]);
    Fd theirs(ends[1]);
    write_all(ours.get(), negotiation);
    write_all(ours.get(), question);
    ASSERT_EQ(::shutdown(ours.get(), SHUT_WR), 0);
    Fd again(::dup(theirs.get()));
    serve(std::move(theirs), std::move(again));
    EXPECT_THAT(read_to_end(ours.get()), HasSubstr(R"("id": "last"})"));
}

TEST(QmpStdio, AnswersWhatStandsInAFile) {
    const test::TemporaryDirectory directory;
    std::ofstream(directory.path("in")) << negotiation << '\n' << question << '\n';
    Fd in(::open(directory.path("in").c_str(), O_RDONLY | O_CLOEXEC));
    Fd out(::open(directory.path("out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    serve(std::move(in), std::move(out));
    std::ostringstream said;
    said << std::ifstream(directory.path("out")).rdbuf();
    EXPECT_THAT(said.str(), HasSubstr(R"("id": "last"})"));
}

TEST(QmpStdio, EndsWhenNobodyReadsItsOutput) {
    std::signal(SIGPIPE, SIG_IGN);  // as the program does
    Pipe to;
    Pipe from;
    from.read_end.reset();
    // The input stays open: what ends the conversation is the output.
    serve(std::move(to.read_end), std::move(from.write_end));
}

TEST(OwnDescriptor, LeavesTheSharedOneInItsMode) {
    const Pipe pipe;
    const Fd own = own_descriptor(pipe.read_end.get(), O_RDONLY);
    EXPECT_TRUE(is_non_blocking(own));
    EXPECT_FALSE(is_non_blocking(pipe.read_end));
    const Fd writing = own_descriptor(pipe.write_end.get(), O_WRONLY);
    write_all(writing.get(), "x");
    char byte = 0;
    EXPECT_EQ(::read(own.get(), &byte, 1), 1);
}

TEST(OwnDescriptor, OfNothingIsNone) {
    EXPECT_FALSE(own_descriptor(-1, O_RDONLY));
}

}  // namespace
}  // namespace viaduct::control
