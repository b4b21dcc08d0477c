// viaductctl's client against a machine that plays its part well, badly, or not at all.
#include <sys/eventfd.h>

#include <gmock/gmock.h>

#include "tests/unit/ctl_scripted_machine.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/qmp_client.hpp"
#include "vmm/ctl/reply.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr milliseconds short_patience{50};

QmpClient::Clock::time_point in(milliseconds time) {
    return QmpClient::Clock::now() + time;
}

std::string name_of_event(const Connection::Received& received) {
    const auto* event = std::get_if<json::object>(&received);
    return event != nullptr ? text(*event, "event") : "none";
}

Silence silence_of(const Connection::Received& received) {
    return std::get<Silence>(received);
}

TEST(CtlClient, LeavesNegotiationBeforeItAsks) {
    std::vector<std::string> names;
    {
        const ScriptedMachine machine([&](Peer& peer) {
            peer.greet();
            while (const auto request = peer.request()) {
                names.push_back(text(*request, "execute"));
                peer.answer(json::object{{"name", "vm"}});
            }
        });
        QmpClient client(machine.address());
        EXPECT_EQ(client.execute("query-name"), (json::object{{"name", "vm"}}));
    }
    EXPECT_EQ(names, (std::vector<std::string>{"qmp_capabilities", "query-name"}));
}

TEST(CtlClient, SendsArgumentsOnlyWhenThereAreSome) {
    std::vector<json::object> requests;
    {
        const ScriptedMachine machine([&](Peer& peer) {
            peer.begin();
            while (auto request = peer.request()) {
                requests.push_back(*request);
                peer.answer(json::object{});
            }
        });
        QmpClient client(machine.address());
        client.execute("stop");
        client.execute("query-stats", {{"target", "vm"}});
    }
    ASSERT_EQ(requests.size(), 2U);
    EXPECT_EQ(requests[0], (json::object{{"execute", "stop"}}));
    EXPECT_EQ(requests[1],
              (json::object{{"execute", "query-stats"}, {"arguments", {{"target", "vm"}}}}));
}

TEST(CtlClient, SetsEventsAsideThatComeBeforeAReply) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        peer.say(
            "{\"event\": \"STOP\"}\r\n{\"event\": \"RESUME\"}\r\n{\"return\": {\"a\": 1}}\r\n"
            "{\"event\": \"RESET\"}\r\n");
        (void)peer.request();
    });
    QmpClient client(machine.address());
    EXPECT_EQ(client.execute("cont"), (json::object{{"a", 1}}));
    EXPECT_EQ(name_of_event(client.next_event(in(usual_patience))), "STOP");
    EXPECT_EQ(name_of_event(client.next_event(in(usual_patience))), "RESUME");
    EXPECT_EQ(name_of_event(client.next_event(in(usual_patience))), "RESET");
    EXPECT_EQ(silence_of(client.next_event(in(short_patience))), Silence::timed_out);
}

TEST(CtlClient, ReadsAReplyThatComesInPieces) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        for (const char letter : std::string_view("{\"return\": {\"text\": \"a\\u00e9\"}}\r\n")) {
            peer.say({&letter, 1});
            std::this_thread::sleep_for(milliseconds(1));
        }
        (void)peer.request();
    });
    QmpClient client(machine.address());
    EXPECT_EQ(client.execute("query-x"), (json::object{{"text", "aé"}}));
}

TEST(CtlClient, ReadsRepliesThatAreSpreadOverLines) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        peer.say("{\n    \"return\": {\n        \"a\": 1\n    }\n}\n");
        (void)peer.request();
    });
    QmpClient client(machine.address());
    EXPECT_EQ(client.execute("query-x"), (json::object{{"a", 1}}));
}

TEST(CtlClient, AnErrorReplyIsARefusalWithClassAndReason) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        peer.say(R"({"error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}})");
        (void)peer.request();
        peer.answer(7);
        (void)peer.request();
    });
    QmpClient client(machine.address());
    EXPECT_THAT([&] { client.execute("vdpa-set-datapath"); },
                ThrowsMessage<QmpRefusal>("Device 'x' not found (DeviceNotFound)"));
    EXPECT_EQ(client.execute("query-x"), 7) << "the conversation goes on after a refusal";
}

TEST(CtlClient, AHangUpBeforeTheAnswerIsALostConnection) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        peer.say(R"({"return": {"a":)");
    });
    QmpClient client(machine.address());
    EXPECT_THAT(
        [&] { client.execute("query-status"); },
        ThrowsMessage<ConnectionLost>(AllOf(HasSubstr(machine.path()), HasSubstr("query-status"))));
}

TEST(CtlClient, AHangUpInsteadOfAGreetingSaysSo) {
    const ScriptedMachine machine([](Peer&) {});
    EXPECT_THAT([&] { const QmpClient client(machine.address()); },
                ThrowsMessage<ConnectionLost>(HasSubstr("without a greeting")));
}

TEST(CtlClient, WhatIsNotQmpIsNamedAsThat) {
    for (const std::string_view first :
         {"SSH-2.0-OpenSSH_9.2\r\n", "[    0.000000] Linux\n", "[1]\n", "7 ",
          "{\"return\": {}}\r\n", "{\"QMP\": \"\x01\"}"}) {
        const ScriptedMachine machine([first](Peer& peer) {
            peer.say(first);
            (void)peer.request();
        });
        EXPECT_THAT([&] { const QmpClient client(machine.address()); },
                    ThrowsMessage<Error>(HasSubstr("does not speak QMP")))
            << first;
    }
}

TEST(CtlClient, GarbageInsteadOfAReplyIsNamedAsThat) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        peer.say("}{");
        (void)peer.request();
    });
    QmpClient client(machine.address());
    EXPECT_THAT([&] { client.execute("query-status"); },
                ThrowsMessage<Error>(HasSubstr("does not speak QMP")));
}

TEST(CtlClient, AMessageThatIsNeitherReplyNorEventIsAnError) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        (void)peer.request();
        peer.say("{\"hello\": 1}");
        (void)peer.request();
    });
    QmpClient client(machine.address());
    EXPECT_THAT([&] { client.execute("query-status"); },
                ThrowsMessage<Error>(HasSubstr("no QMP reply")));
}

TEST(CtlClient, GivesUpOnAGreetingThatDoesNotCome) {
    const ScriptedMachine machine([](Peer& peer) { (void)peer.request(); });
    EXPECT_THAT([&] { const QmpClient client(machine.address(), short_patience); },
                ThrowsMessage<Error>(AllOf(HasSubstr("no QMP greeting"), HasSubstr("0.05 s"))));
}

TEST(CtlClient, GivesUpOnAReplyThatDoesNotCome) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        while (peer.request()) {
        }
    });
    QmpClient client(machine.address());
    EXPECT_THAT(
        [&] {
            client.request({{"execute", "query-status"}}, short_patience);
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("no answer to query-status"), HasSubstr("0.05 s"))));
}

TEST(CtlClient, ASignalEndsTheWaitForAReplyAndForAnEvent) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        while (peer.request()) {
        }
    });
    QmpClient client(machine.address());
    const Fd signal(::eventfd(1, EFD_CLOEXEC));
    client.wake_on(signal.get());
    EXPECT_THROW(client.execute("query-status"), Interrupted);
    EXPECT_EQ(silence_of(client.next_event(in(usual_patience))), Silence::woken);
}

TEST(CtlClient, AnEndThatWasAnnouncedIsNoError) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        peer.say("{\"event\": \"SHUTDOWN\"}\r\n");
    });
    QmpClient client(machine.address());
    EXPECT_FALSE(client.is_shut_down());
    EXPECT_EQ(name_of_event(client.next_event(in(usual_patience))), "SHUTDOWN");
    EXPECT_TRUE(client.is_shut_down());
    EXPECT_EQ(silence_of(client.next_event(in(usual_patience))), Silence::closed);
}

TEST(CtlClient, AnEndWithoutAWordIsAnError) {
    const ScriptedMachine machine([](Peer& peer) {
        peer.begin();
        peer.say("{\"event\": \"STOP\"}\r\n");
    });
    QmpClient client(machine.address());
    EXPECT_EQ(name_of_event(client.next_event(in(usual_patience))), "STOP");
    EXPECT_THROW((void)client.next_event(in(usual_patience)), ConnectionLost);
}

TEST(CtlClient, ASocketThatIsNotThereAsksForTheOption) {
    const test::TemporaryDirectory directory;
    const std::string path = directory.path("vm.sock");
    EXPECT_THAT([&] { const QmpClient client(UnixAddress{path}); },
                ThrowsMessage<Error>(
                    AllOf(HasSubstr("is the VM running"), HasSubstr("--qmp unix:" + path))));
}

TEST(CtlClient, ASocketWithoutAProcessSaysThatTheVmHasEnded) {
    std::string path;
    const test::TemporaryDirectory directory;
    path = directory.path("vm.sock");
    {
        const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::ranges::copy(path, address.sun_path);
        ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
                  0);
    }
    EXPECT_THAT([&] { const QmpClient client(UnixAddress{path}); },
                ThrowsMessage<Error>(AllOf(HasSubstr("nobody listens"), HasSubstr("has ended"))));
}

TEST(CtlClient, ATcpPortThatIsClosedSaysThatNobodyListens) {
    EXPECT_THAT([] { const QmpClient client(TcpAddress{.host = "127.0.0.1", .port = 1}); },
                ThrowsMessage<Error>(HasSubstr("tcp:127.0.0.1:1: nobody listens")));
}

TEST(CtlAddress, IsAPathUnlessItSaysOtherwise) {
    EXPECT_EQ(parse_address("/run/vm.sock"), Address(UnixAddress{"/run/vm.sock"}));
    EXPECT_EQ(parse_address("unix:vm.sock"), Address(UnixAddress{"vm.sock"}));
    EXPECT_EQ(parse_address("tcp:127.0.0.1:4444"),
              Address(TcpAddress{.host = "127.0.0.1", .port = 4444}));
    EXPECT_EQ(parse_address("tcp:localhost:1"),
              Address(TcpAddress{.host = "127.0.0.1", .port = 1}));
    EXPECT_EQ(parse_address("tcp:[::1]:65535"), Address(TcpAddress{.host = "::1", .port = 65535}));
    EXPECT_EQ(name_of(parse_address("tcp:[::1]:4444")), "tcp:[::1]:4444");
    EXPECT_EQ(name_of(parse_address("vm.sock")), "unix:vm.sock");
}

TEST(CtlAddress, ThatIsNoneSaysHowToWriteIt) {
    for (const auto* const text : {"tcp:", "tcp:4444", "tcp::4444", "tcp:127.0.0.1:",
                                   "tcp:127.0.0.1:0", "tcp:127.0.0.1:65536", "tcp:127.0.0.1:44x"}) {
        EXPECT_THAT([&] { (void)parse_address(text); },
                    ThrowsMessage<UsageError>(HasSubstr("tcp:127.0.0.1:4444")))
            << text;
    }
    EXPECT_THAT([] { (void)parse_address("unix:"); },
                ThrowsMessage<UsageError>(HasSubstr("empty")));
    EXPECT_THAT([] { (void)parse_address(std::string(200, 'x')); },
                ThrowsMessage<UsageError>(AllOf(HasSubstr("107"), HasSubstr("200"))));
    EXPECT_THAT([] { const QmpClient client(TcpAddress{.host = "vm.example", .port = 1}); },
                ThrowsMessage<UsageError>(HasSubstr("'vm.example' is not an IP address")));
}

TEST(CtlPatience, IsLongerForWhatWaitsForDevices) {
    EXPECT_EQ(patience_for("query-status", {}), milliseconds(10'000));
    EXPECT_EQ(patience_for("stop", {}), milliseconds(120'000));
    EXPECT_EQ(patience_for("vdpa-set-datapath", {{"switch-timeout", 5000}}), milliseconds(125'000));
    EXPECT_EQ(patience_for("vdpa-set-datapath", {{"switch-timeout", "long"}}),
              milliseconds(120'000));
}

}  // namespace
}  // namespace viaduct::ctl
