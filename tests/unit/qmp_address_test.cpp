// What `--qmp` takes, and what each mistake is told.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "vmm/config.hpp"
#include "vmm/control/address.hpp"

namespace viaduct::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(QmpAddress, IsAPathAPortOrStdio) {
    EXPECT_EQ(parse_address("unix:/run/vm.sock"), Address(UnixAddress{"/run/vm.sock"}));
    EXPECT_EQ(parse_address("tcp:127.0.0.1:4444"),
              Address(LoopbackAddress{false, "127.0.0.1", 4444}));
    EXPECT_EQ(parse_address("tcp:127.1.2.3:0"), Address(LoopbackAddress{false, "127.1.2.3", 0}));
    EXPECT_EQ(parse_address("tcp:[::1]:65535"), Address(LoopbackAddress{true, "::1", 65535}));
    EXPECT_EQ(parse_address("stdio"), Address(StdioAddress{}));
}

TEST(QmpAddress, ThatIsNoneSaysWhichThereAre) {
    for (const auto* const text : {"", "unix:", "carrier-pigeon:5", "/run/vm.sock", "stdio:"}) {
        EXPECT_THAT([&] { (void)parse_address(text); },
                    ThrowsMessage<Error>(AllOf(HasSubstr(std::string("--qmp ") + text + ":"),
                                               HasSubstr("unix:PATH"), HasSubstr("tcp:127.0.0.1"),
                                               HasSubstr("stdio"))))
            << text;
    }
}

TEST(QmpAddress, OutsideOfThisHostIsRefused) {
    for (const auto* const host :
         {"0.0.0.0", "192.168.0.1", "128.0.0.1", "localhost", "[::]", "[fe80::1]",
          "[::ffff:127.0.0.1]", "::1", "[127.0.0.1]", "", "127.1"}) {
        const auto text = fmt::format("tcp:{}:4444", host);
        EXPECT_THAT(
            [&] { (void)parse_address(text); },
            ThrowsMessage<Error>(AllOf(HasSubstr("--qmp " + text),
                                       HasSubstr(fmt::format("'{}' is not a loopback", host)),
                                       HasSubstr("127.0.0.1:PORT or [::1]:PORT"))))
            << host;
    }
}

TEST(QmpAddress, WithoutAPortNamesTheRange) {
    for (const auto* const port : {"", "65536", "-1", "http", "4444,server=on", " 1"}) {
        const auto text = fmt::format("tcp:127.0.0.1:{}", port);
        EXPECT_THAT([&] { (void)parse_address(text); },
                    ThrowsMessage<Error>(AllOf(HasSubstr(fmt::format("'{}' is not a port", port)),
                                               HasSubstr("0 to 65535"))))
            << port;
    }
    EXPECT_THAT([] { (void)parse_address("tcp:"); }, ThrowsMessage<Error>(HasSubstr("PORT")));
    EXPECT_THAT([] { (void)parse_address("tcp:127.0.0.1"); },
                ThrowsMessage<Error>(HasSubstr("PORT")));
}

/// `viaduct run --kernel k` and what a test adds.
vmm::Config run(std::vector<std::string> arguments) {
    const std::vector<std::string> needed{"viaduct", "run", "--kernel", "k"};
    arguments.insert(arguments.begin(), needed.begin(), needed.end());
    std::vector<char*> argv;
    argv.reserve(arguments.size());
    for (std::string& argument : arguments) argv.push_back(argument.data());
    return vmm::parse_command_line(static_cast<int>(argv.size()), argv.data()).value();
}

TEST(QmpOption, MayBeGivenSeveralTimes) {
    EXPECT_THAT(
        run({"--qmp", "unix:a", "--qmp", "tcp:[::1]:0", "--qmp=stdio", "--serial", "none"}).qmp,
        testing::ElementsAre("unix:a", "tcp:[::1]:0", "stdio"));
}

TEST(QmpOption, IsCheckedBeforeAnythingStarts) {
    EXPECT_THAT(
        [] {
            run({"--qmp", "unix:a", "--qmp", "tcp:10.0.0.1:1"});
        },
        ThrowsMessage<Error>(HasSubstr("'10.0.0.1'")));
}

TEST(QmpOption, SharesStandardInputWithNobody) {
    EXPECT_THAT(
        [] {
            run({"--qmp", "stdio"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("--qmp stdio"), HasSubstr("--serial stdio"),
                                   HasSubstr("--serial none, pty, file:PATH or unix:PATH"))));
    EXPECT_THAT(
        [] {
            run({"--qmp", "stdio", "--serial", "none", "--qmp", "stdio"});
        },
        ThrowsMessage<Error>(HasSubstr("twice")));
    EXPECT_NO_THROW(run({"--qmp", "stdio", "--serial", "pty"}));
}

}  // namespace
}  // namespace viaduct::control
