#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "tests/unit/qmp_world.hpp"

namespace viaduct::control {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

bool is_closed(tests::QmpClient& client) {
    while (client.receive_line()) continue;
    return true;
}

/// The server closes the connection while nothing is read from it.
bool hangs_up(const tests::QmpClient& client) {
    pollfd waited{.fd = client.fd(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&waited, 1, static_cast<int>(tests::QmpClient::patience.count())) == 1;
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator descriptors("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(descriptors), end(descriptors)));
}

/// How long another client waits for an answer.
Clock::duration round_trip(tests::QmpClient& client) {
    const auto start = Clock::now();
    (void)client.execute("query-name");
    return Clock::now() - start;
}

TEST(QmpServer, GreetsAndEndsItsLinesAsQemuDoes) {
    const QmpWorld world;
    const auto client = world.stranger();
    EXPECT_TRUE(client->greeting().contains("QMP"));
    client->send(R"({"execute":"qmp_capabilities"}{"execute":"query-name","id":1})");
    // The client takes a line only when it ends in CR LF.
    EXPECT_EQ(client->receive_line(), R"({"return": {}})");
    EXPECT_EQ(client->receive_line(), R"({"return": {}, "id": 1})");
}

TEST(QmpServer, HasEachClientNegotiateForItself) {
    const QmpWorld world;
    const auto one = world.client();
    const auto other = world.stranger();
    EXPECT_NO_THROW((void)one->execute("query-name"));
    EXPECT_THROW((void)other->execute("query-name"), tests::QmpRefusal);
    other->negotiate();
    EXPECT_NO_THROW((void)other->execute("query-name"));
}

TEST(QmpServer, SendsEventsToEveryClientThatHasNegotiatedInOneOrder) {
    QmpWorld world;
    const auto one = world.client();
    const auto other = world.client();
    const auto stranger = world.stranger();
    constexpr int events = 1000;
    std::thread vcpu([&] {
        for (int i = 0; i < events; ++i) world.server().emit("RESET", {{"number", i}});
    });
    for (int i = 0; i < events; ++i) {
        EXPECT_EQ(one->wait_event("RESET").at("data").at("number"), i);
        const auto event = other->wait_event("RESET");
        EXPECT_EQ(event.at("data").at("number"), i);
        EXPECT_GT(event.at("timestamp").at("seconds").as_int64(), 1'600'000'000);
        EXPECT_LT(event.at("timestamp").at("microseconds").as_int64(), 1'000'000);
    }
    vcpu.join();
    stranger->send(R"({"execute":"qmp_capabilities"})");
    EXPECT_EQ(stranger->receive_line(), R"({"return": {}})") << "an event came before negotiation";
}

TEST(QmpServer, SendsAnEventWithoutContentAsQemuDoes) {
    QmpWorld world;
    const auto client = world.client();
    client->send(R"({"execute":"stop","id":1})");
    EXPECT_THAT(
        client->receive_line().value(),
        testing::MatchesRegex(
            R"(\{"timestamp": \{"seconds": [0-9]+, "microseconds": [0-9]+\}, "event": "STOP"\})"));
    EXPECT_EQ(client->receive_line(), R"({"return": {}, "id": 1})");
}

TEST(QmpServer, HoldsUpOnlyTheClientWhoseCommandWaits) {
    QmpWorld world;
    const auto patient = world.client();
    const auto other = world.client();
    patient->send(R"({"execute":"wait","id":1}{"execute":"query-name","id":2})");
    EXPECT_NO_THROW((void)other->execute("query-name"));
    world.server().emit("RESET");
    EXPECT_EQ(patient->receive().value().at("event"), "RESET");
    EXPECT_THROW((void)patient->receive_line(50ms), Error) << "an answer overtook another";
    world.release();
    EXPECT_EQ(patient->receive_line(), R"({"return": "released", "id": 1})");
    EXPECT_EQ(patient->receive_line(), R"({"return": {}, "id": 2})");
}

TEST(QmpServer, WaitsForTheRestOfALineFromThatClientOnly) {
    const QmpWorld world;
    const auto slow = world.client();
    const auto other = world.client();
    slow->send(R"({"execute":"query-)");
    for (int i = 0; i < 100; ++i) EXPECT_NO_THROW((void)other->execute("query-name"));
    slow->send("name\"}");
    EXPECT_EQ(slow->receive_line(), R"({"return": {}})");
}

TEST(QmpServer, RefusesAHugeRequestAndClosesItsConnection) {
    const QmpWorld world;
    const auto huge = world.client();
    const auto other = world.client();
    huge->send(R"({"execute":"query-name","id":")" + std::string(Limits{}.request, 'x'));
    EXPECT_THAT(huge->receive_line().value(), HasSubstr("larger than 262144 bytes"));
    EXPECT_TRUE(is_closed(*huge));
    EXPECT_NO_THROW((void)other->execute("query-name"));
}

TEST(QmpServer, ClosesAClientThatNeverReadsItsEvents) {
    QmpWorld world;
    const auto deaf = world.client();
    const auto other = world.client();
    const std::string ballast(65536, 'x');
    auto slowest = Clock::duration::zero();
    constexpr std::size_t emitted = 100;
    for (std::size_t i = 0; i < emitted; ++i) {
        world.server().emit("RESET", {{"ballast", ballast}});
        (void)other->wait_event("RESET");
        slowest = std::max(slowest, round_trip(*other));
    }
    EXPECT_LT(slowest, 2s);
    std::size_t received = 0;
    while (deaf->receive_line()) ++received;
    EXPECT_GT(received, 0U);
    EXPECT_LT(received, emitted / 2);
}

TEST(QmpServer, ClosesAClientThatAsksAndNeverReads) {
    Limits limits;
    limits.stall = 100ms;
    const QmpWorld world(limits);
    const auto deaf = world.client();
    const auto other = world.client();
    // Less than a client may leave unread, more than a socket holds.
    constexpr int asked = 8;
    std::string questions;
    for (int i = 0; i < asked; ++i) {
        questions += R"({"execute":"say","arguments":{"letters":100000}})";
    }
    deaf->send(questions);
    EXPECT_NO_THROW((void)other->execute("query-name"));
    EXPECT_TRUE(hangs_up(*deaf));
    int answers = 0;
    while (deaf->receive_line()) ++answers;
    EXPECT_LT(answers, asked);
}

TEST(QmpServer, AnswersAllThatAClientAsksAheadWhenItReads) {
    const QmpWorld world;
    const auto client = world.client();
    // What comes in one read brings far more than a client may leave unread.
    constexpr int questions = 1'000;
    std::string asked;
    for (int i = 0; i < questions; ++i) {
        asked += fmt::format(R"({{"execute":"say","arguments":{{"letters":10000}},"id":{}}})", i);
    }
    client->send(asked);
    for (int i = 0; i < questions; ++i) ASSERT_EQ(client->receive().value().at("id"), i);
}

TEST(QmpServer, AnswersAClientThatHasClosedItsSendingSide) {
    const QmpWorld world;
    const auto client = world.stranger();
    client->send(
        R"({"execute":"qmp_capabilities"}{"execute":"say","arguments":{"letters":1000000}})");
    ASSERT_EQ(::shutdown(client->fd(), SHUT_WR), 0);
    EXPECT_EQ(client->receive_line(), R"({"return": {}})");
    EXPECT_EQ(client->receive().value().at("return").as_string().size(), 1'000'000U);
    EXPECT_TRUE(is_closed(*client));
}

TEST(QmpServer, ClosesClientsBeyondItsLimitUntilOneLeaves) {
    Limits limits;
    limits.clients = 3;
    QmpWorld world(limits);
    std::vector<std::unique_ptr<tests::QmpClient>> clients;
    for (std::size_t i = 0; i < limits.clients; ++i) clients.push_back(world.client());
    EXPECT_THROW((void)world.stranger(), Error);
    EXPECT_NO_THROW((void)clients.front()->execute("query-name"));
    clients.pop_back();
    const auto admitted = [&] {
        try {
            return world.client() != nullptr;
        } catch (const Error&) {
            return false;  // the server has not seen the other one leave yet
        }
    };
    const auto deadline = Clock::now() + 10s;
    while (!admitted() && Clock::now() < deadline) std::this_thread::sleep_for(5ms);
    EXPECT_LT(Clock::now(), deadline);
}

TEST(QmpServer, SurvivesClientsThatComeAndGoInTheMiddleOfAnything) {
    Limits limits;
    limits.clients = 1000;
    QmpWorld world(limits);
    const auto witness = world.client();
    world.settle();
    const auto before = open_descriptors();
    const std::string conversation =
        R"({"execute":"qmp_capabilities"}{"execute":"say","arguments":{"letters":300000}}[1,)";
    for (std::size_t length = 0; length <= conversation.size(); ++length) {
        const tests::QmpClient visitor(world.path());
        tests::QmpClient leaving(world.path());
        leaving.send(std::string_view(conversation).substr(0, length));
        world.server().emit("RESET");
    }
    (void)witness->execute("query-name");
    const auto deadline = Clock::now() + 10s;
    while (open_descriptors() > before && Clock::now() < deadline) std::this_thread::sleep_for(5ms);
    EXPECT_EQ(open_descriptors(), before);
}

TEST(QmpServer, DeliversTheAnswerToQuitAndTheShutdownEventBeforeItCloses) {
    QmpWorld world;
    const auto quitting = world.client();
    const auto watching = world.client();
    // More than a socket holds: it is still in the server when the goodbye begins.
    watching->send(R"({"execute":"say","arguments":{"letters":900000}})");
    world.settle();
    quitting->send(R"({"execute":"quit","id":"bye"})");
    EXPECT_EQ(watching->receive().value().at("return").as_string().size(), 900'000U);
    EXPECT_EQ(watching->receive().value().at("event"), "SHUTDOWN");
    EXPECT_TRUE(is_closed(*watching));
    EXPECT_EQ(quitting->wait_event("SHUTDOWN").at("data").at("guest"), false);
    EXPECT_EQ(quitting->receive_line(), R"({"return": {}, "id": "bye"})");
    EXPECT_TRUE(is_closed(*quitting));
    EXPECT_FALSE(std::filesystem::exists(world.path()));
}

TEST(QmpServer, RefusesAnAddressThatIsNone) {
    QmpWorld world;
    for (const char* address : {"carrier-pigeon:5", "unix:", ""}) {
        EXPECT_THAT([&] { world.server().listen(address); },
                    testing::ThrowsMessage<Error>(HasSubstr("use unix:PATH")))
            << address;
    }
}

TEST(QmpServer, NamesTheOptionWhenItsAddressIsInUse) {
    QmpWorld world;
    const auto address = "unix:" + world.path();
    EXPECT_THAT([&] { world.server().listen(address); },
                testing::ThrowsMessage<Error>("--qmp " + address +
                                              ": in use by a running process: end it or choose "
                                              "another path"));
}

TEST(QmpServer, FinishesInBoundedTimeThoughAClientNeverReads) {
    Limits limits;
    limits.farewell = 200ms;
    QmpWorld world(limits);
    const auto deaf = world.client();
    deaf->send(R"({"execute":"say","arguments":{"letters":900000}})");
    world.settle();
    const auto start = Clock::now();
    world.finish().wait();
    EXPECT_GE(Clock::now() - start, limits.farewell);
    EXPECT_LT(Clock::now() - start, 10 * limits.farewell);
}

TEST(QmpServer, AnswersTheCommandThatRunsWhenItFinishes) {
    QmpWorld world;
    const auto client = world.client();
    client->send(R"({"execute":"wait"}{"execute":"query-name"})");
    (void)world.client()->execute("query-name");
    const auto finished = world.finish();
    world.settle();
    world.release();
    EXPECT_EQ(client->receive_line(), R"({"return": "released"})");
    EXPECT_EQ(client->receive_line(), std::nullopt) << "a request was taken after the goodbye";
    finished.wait();
}

TEST(QmpServer, FinishesAtOnceWhenNobodyWaitsForAnything) {
    QmpWorld world;
    const auto idle = world.client();
    const auto start = Clock::now();
    world.finish().wait();
    EXPECT_LT(Clock::now() - start, Limits{}.farewell / 2);
    EXPECT_TRUE(is_closed(*idle));
}

TEST(QmpServer, CanBeTakenDownInTheMiddleOfEverything) {
    QmpWorld world;
    const auto waiting = world.client();
    waiting->send(R"({"execute":"wait"})");
    const auto deaf = world.client();
    deaf->send(R"({"execute":"say","arguments":{"letters":900000}})");
    const auto idle = world.stranger();
    world.server().emit("RESET");
    world.stop();
    EXPECT_TRUE(is_closed(*idle));
    EXPECT_FALSE(std::filesystem::exists(world.path()));
}

TEST(QmpServer, WithoutAListenerEmitsNothingAndFinishesAtOnce) {
    boost::asio::io_context io;
    const CommandTable commands;
    QmpServer server(io, commands);
    server.emit("STOP");
    EXPECT_EQ(io.poll(), 0U);
    bool finished = false;
    io.restart();
    server.finish([&] { finished = true; });
    io.run();
    EXPECT_TRUE(finished);
}

}  // namespace
}  // namespace viaduct::control
