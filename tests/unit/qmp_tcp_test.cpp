// QMP over TCP on the loopback interface.
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "tests/unit/qmp_world.hpp"

namespace viaduct::control {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// A server on a port that the kernel picked.
class TcpWorld {
public:
    explicit TcpWorld(const std::string& host = "127.0.0.1") : is_ipv6_(host.front() == '[') {
        testing::internal::CaptureStderr();
        world.listen("tcp:" + host + ":0");
        note_ = testing::internal::GetCapturedStderr();
    }

    [[nodiscard]] const std::string& note() const { return note_; }
    [[nodiscard]] std::string port() const {
        const auto text = note_.substr(note_.rfind(':') + 1);
        return text.substr(0, text.find('\n'));
    }

    [[nodiscard]] Fd connect() const {
        sockaddr_in6 six{};
        six.sin6_family = AF_INET6;
        six.sin6_addr = in6addr_loopback;
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        six.sin6_port = four.sin_port = htons(static_cast<std::uint16_t>(std::stoul(port())));
        Fd socket(::socket(is_ipv6_ ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        // The sockets API takes every family's address by its common header.
        const auto* address = is_ipv6_ ? reinterpret_cast<const sockaddr*>(&six)
                                       : reinterpret_cast<const sockaddr*>(&four);
        if (::connect(socket.get(), address, is_ipv6_ ? sizeof six : sizeof four) != 0) {
            throw SystemError("connecting to port " + port());
        }
        return socket;
    }
    [[nodiscard]] std::unique_ptr<tests::QmpClient> stranger() const {
        return std::make_unique<tests::QmpClient>(connect());
    }

    QmpWorld world;

private:
    bool is_ipv6_;
    std::string note_;
};

TEST(QmpTcp, ServesClientsAsAUnixSocketDoes) {
    TcpWorld tcp;
    const auto one = tcp.stranger();
    const auto other = tcp.world.client();
    one->negotiate();
    EXPECT_NO_THROW((void)one->execute("query-name"));
    tcp.world.server().emit("RESET");
    EXPECT_EQ(one->wait_event("RESET").at("event"), "RESET");
    EXPECT_EQ(other->wait_event("RESET").at("event"), "RESET");
}

TEST(QmpTcp, ServesClientsOverIpv6) {
    const TcpWorld tcp("[::1]");
    EXPECT_THAT(tcp.note(), testing::StartsWith("qmp: tcp:[::1]:"));
    const auto client = tcp.stranger();
    client->negotiate();
    EXPECT_NO_THROW((void)client->execute("query-name"));
}

TEST(QmpTcp, TellsWhichPortTheKernelPicked) {
    const TcpWorld tcp;
    EXPECT_THAT(tcp.note(), testing::MatchesRegex("qmp: tcp:127\\.0\\.0\\.1:[1-9][0-9]*\n"));
    EXPECT_TRUE(tcp.connect());
}

TEST(QmpTcp, NamesTheOptionWhenItsPortIsInUse) {
    TcpWorld tcp;
    const auto address = "tcp:127.0.0.1:" + tcp.port();
    EXPECT_THAT(
        [&] { tcp.world.listen(address); },
        ThrowsMessage<Error>("--qmp " + address +
                             ": in use by a running process: end it or choose another port"));
}

TEST(QmpTcp, TakesAPortAgainWhoseLastConnectionsLinger) {
    Fd client;
    std::string port;
    {
        const TcpWorld tcp;
        client = tcp.connect();
        port = tcp.port();
        tests::QmpClient(tcp.connect()).negotiate();
    }
    QmpWorld next;
    EXPECT_NO_THROW(next.listen("tcp:127.0.0.1:" + port));
}

TEST(QmpTcp, ClosesAClientThatSpeaksHttpBeforeItsBodyIsRead) {
    const TcpWorld tcp;
    const auto browser = tcp.stranger();
    const auto* const body =
        R"({"execute":"qmp_capabilities"}{"execute":"say","arguments":{"letters":3}})";
    browser->send(fmt::format("POST / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n{}", tcp.port(), body));
    std::string lines;
    while (const auto line = browser->receive_line()) lines += *line;
    EXPECT_THAT(lines, testing::Not(HasSubstr("return")));
}

TEST(QmpTcp, KeepsAClientThatErrsAfterNegotiation) {
    const TcpWorld tcp;
    const auto client = tcp.stranger();
    client->negotiate();
    client->send("POST \n");
    EXPECT_THAT(client->receive_line().value(), HasSubstr("JSON parse error"));
    EXPECT_NO_THROW((void)client->execute("query-name"));
}

}  // namespace
}  // namespace viaduct::control
