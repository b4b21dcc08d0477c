#include <string>
#include <string_view>
#include <vector>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "tests/unit/qmp_conversation.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Exchange {
    std::string_view said;
    std::string_view answer;
};

/// What qemu-system-x86_64 7.2 (-M none -nodefaults) answered, byte for byte, to a client that had
/// negotiated.
constexpr Exchange as_qemu_answers[] = {
    {R"({"execute":"query-name"})", R"({"return": {}})"},
    {"{\"execute\":\"query-name\"} \t\r\n", R"({"return": {}})"},
    {R"({"execute":"query-name","id":"a"})", R"({"return": {}, "id": "a"})"},
    {R"({"execute":"query-name","id":1.5})", R"({"return": {}, "id": 1.5})"},
    {R"({"execute":"query-name","id":1.50})", R"({"return": {}, "id": 1.5})"},
    {R"({"execute":"query-name","id":1e2})", R"({"return": {}, "id": 100})"},
    {R"({"execute":"query-name","id":18446744073709551615})",
     R"({"return": {}, "id": 18446744073709551615})"},
    {R"({"execute":"query-name","id":18446744073709551616})",
     R"({"return": {}, "id": 1.8446744073709552e+19})"},
    {R"({"execute":"query-name","id":-9223372036854775808})",
     R"({"return": {}, "id": -9223372036854775808})"},
    {R"({"execute":"query-name","id":null})", R"({"return": {}, "id": null})"},
    {R"({"execute":"query-name","id":[1,{"a":null}]})",
     R"({"return": {}, "id": [1, {"a": null}]})"},
    {R"({"execute":"query-name","id":"a\u0000b"})", R"({"return": {}, "id": "a\u0000b"})"},
    {"{\"execute\":\"query-name\",\"id\":\"a\\u00e9\xc3\xa9/\\/\\ud83d\\ude00\\n\x7f\"}",
     R"({"return": {}, "id": "a\u00E9\u00E9//\uD83D\uDE00\n\u007F"})"},
    {R"({"execute":"query-name","arguments":{}})", R"({"return": {}})"},
    {R"({"execute":"query-name","arguments":[]})",
     R"({"error": {"class": "GenericError", "desc": "QMP input member 'arguments' must be an object"}})"},
    {R"({"execute":"query-name","arguments":null})",
     R"({"error": {"class": "GenericError", "desc": "QMP input member 'arguments' must be an object"}})"},
    {R"({"execute":"query-name","arguments":{"x":1}})",
     R"({"error": {"class": "GenericError", "desc": "Parameter 'x' is unexpected"}})"},
    {R"({"execute":"nonsense","id":3})",
     R"({"id": 3, "error": {"class": "CommandNotFound", "desc": "The command nonsense has not been found"}})"},
    {R"({"execute":5,"id":3})",
     R"({"id": 3, "error": {"class": "GenericError", "desc": "QMP input member 'execute' must be a string"}})"},
    {R"({"execute":"","id":3})",
     R"({"id": 3, "error": {"class": "CommandNotFound", "desc": "The command  has not been found"}})"},
    {R"({"execute":null,"id":3})",
     R"({"id": 3, "error": {"class": "GenericError", "desc": "QMP input member 'execute' must be a string"}})"},
    {R"({"id":3})",
     R"({"id": 3, "error": {"class": "GenericError", "desc": "QMP input lacks member 'execute'"}})"},
    {"{}", R"({"error": {"class": "GenericError", "desc": "QMP input lacks member 'execute'"}})"},
    {"[]", R"({"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}})"},
    {"5 ", R"({"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}})"},
    {"\"x\"", R"({"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}})"},
    {"null ", R"({"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}})"},
    {"true\n",
     R"({"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}})"},
    {R"({"execute":"query-name","extra":1,"id":7})",
     R"({"id": 7, "error": {"class": "GenericError", "desc": "QMP input member 'extra' is unexpected"}})"},
    {R"({"exec-oob":"query-name"})",
     R"({"error": {"class": "GenericError", "desc": "QMP input member 'exec-oob' is unexpected"}})"},
    {R"({"exec-oob":"query-name","execute":"query-name"})",
     R"({"error": {"class": "GenericError", "desc": "QMP input member 'exec-oob' is unexpected"}})"},
    {R"({"execute":"qmp_capabilities","id":[1]})",
     R"({"id": [1], "error": {"class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"}})"},
    {R"({"execute":"device_del","arguments":{}})",
     R"({"error": {"class": "GenericError", "desc": "Parameter 'id' is missing"}})"},
    {R"({"execute":"device_del"})",
     R"({"error": {"class": "GenericError", "desc": "Parameter 'id' is missing"}})"},
    {R"({"execute":"device_del","arguments":{"id":5}})",
     R"({"error": {"class": "GenericError", "desc": "Invalid parameter type for 'id', expected: string"}})"},
    {R"({"execute":"device_del","arguments":{"id":"x","y":1}})",
     R"({"error": {"class": "GenericError", "desc": "Parameter 'y' is unexpected"}})"},
    {R"({"execute":"device_del","arguments":{"id":"x"}})",
     R"({"error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}})"},
    {R"({"execute":"set_link","arguments":{"name":"x","up":1}})",
     R"({"error": {"class": "GenericError", "desc": "Invalid parameter type for 'up', expected: boolean"}})"},
    {R"({"execute":"balloon","arguments":{"value":"x"}})",
     R"({"error": {"class": "GenericError", "desc": "Invalid parameter type for 'value', expected: integer"}})"},
    {R"({"execute":"balloon","arguments":{"value":1.5}})",
     R"({"error": {"class": "GenericError", "desc": "Invalid parameter type for 'value', expected: integer"}})"},
    {R"({"execute":"balloon","arguments":{"value":99999999999999999999}})",
     R"({"error": {"class": "GenericError", "desc": "Invalid parameter type for 'value', expected: integer"}})"},
};

TEST(QmpSession, AnswersByteForByteAsQemuDoes) {
    for (const auto& [said, answer] : as_qemu_answers) {
        Conversation conversation;
        EXPECT_THAT(conversation.negotiate().say(said), ElementsAre(std::string(answer))) << said;
    }
}

/// Malformed input after which QEMU 7.2 answered as many parse errors and then the good request
/// that followed, as we do.
struct Malformed {
    std::string_view said;
    int errors;
};
constexpr Malformed as_qemu_recovers[] = {
    {R"({"execute":"query-name",})", 1},
    {R"({"execute":})", 1},
    {R"({"execute" "query-name"})", 1},
    {"{\"execute\" x \"query-name\"}\n", 1},
    {"xyz\n", 1},
    {"xyz", 1},
    {"}", 1},
    {"]]}", 3},
    {R"({"a":])", 1},
    {R"({"a":]})", 2},
    {"[1,2}", 1},
    {"[1,2\xff", 1},
    {std::string_view("\0\1", 2), 2},
    {"\xff", 1},
    {"\x1b", 1},
    {"[1.]", 1},
    {"[1e]", 1},
    {"[-]", 1},
    {"[tru]", 1},
    {R"(["\x"])", 1},
    {R"(["\u12"])", 1},
    {R"(["\ud800"])", 1},
    {"[\"\xed\xa0\x80\"]", 1},
    {"{1:2}", 1},
    {R"({"a":1 "b":2})", 1},
    {"[1 2]", 1},
    {",", 1},
};

TEST(QmpSession, RecoversFromMalformedInputWhereQemuDoes) {
    for (const auto& [said, errors] : as_qemu_recovers) {
        Conversation conversation;
        auto lines = conversation.negotiate().say(said);
        const auto rest = conversation.say(R"({"execute":"query-name"})");
        lines.insert(lines.end(), rest.begin(), rest.end());
        ASSERT_EQ(lines.size(), static_cast<std::size_t>(errors) + 1) << said;
        EXPECT_EQ(lines.back(), R"({"return": {}})") << said;
        lines.pop_back();
        for (const auto& line : lines) {
            EXPECT_THAT(line,
                        testing::StartsWith(
                            R"({"error": {"class": "GenericError", "desc": "JSON parse error, )"))
                << said;
        }
    }
}

TEST(QmpSession, AsksForNegotiationFirst) {
    constexpr auto refusal =
        R"({"error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}})";
    Conversation conversation;
    EXPECT_THAT(conversation.say(R"({"execute":"query-name"})"), ElementsAre(refusal));
    EXPECT_THAT(conversation.say(R"({"execute":"nonsense"})"), ElementsAre(refusal));
    EXPECT_FALSE(conversation.session().negotiated());
    EXPECT_THAT(conversation.say(R"({"execute":"qmp_capabilities","id":"a"})"),
                ElementsAre(R"({"return": {}, "id": "a"})"));
    EXPECT_TRUE(conversation.session().negotiated());
}

TEST(QmpSession, NegotiatesOnlyWhatItOffers) {
    const auto after = [](std::string_view arguments) {
        Conversation conversation;
        const auto lines = conversation.say(
            fmt::format(R"({{"execute":"qmp_capabilities","arguments":{}}})", arguments));
        EXPECT_EQ(conversation.session().negotiated(), lines.front() == R"({"return": {}})");
        return lines.front();
    };
    EXPECT_EQ(after(R"({"enable":[]})"), R"({"return": {}})");
    EXPECT_THAT(after(R"({"enable":["oob"]})"), HasSubstr("does not accept value 'oob'"));
    EXPECT_THAT(after(R"({"enable":[3]})"), HasSubstr("expected: string"));
    EXPECT_EQ(
        after(R"({"enable":3})"),
        R"({"error": {"class": "GenericError", "desc": "Invalid parameter type for 'enable', expected: array"}})");
    EXPECT_EQ(after(R"({"x":3})"),
              R"({"error": {"class": "GenericError", "desc": "Parameter 'x' is unexpected"}})");
}

TEST(QmpSession, AnswersTheSameAtWhateverPointTheBytesAreSplit) {
    constexpr std::string_view said =
        "{\"execute\":\"qmp_capabilities\"}\r\n"
        "{\"execute\":\"query-name\",\"id\":{\"a\":[1,\"}\\\"]\"]}}{\"execute\":\"nonsense\"}"
        "\n xyz "
        "{\"a\":\xff[1}{\"execute\":\"device_del\",\"arguments\":{\"id\":\"\xc3\xa9\\u00e9\"}} \n";
    Conversation whole;
    const auto expected = whole.say(said);
    ASSERT_EQ(expected.size(), 7U);
    for (std::size_t first = 0; first <= said.size(); ++first) {
        for (std::size_t second = first; second <= said.size(); second += 7) {
            Conversation conversation;
            std::vector<std::string> lines;
            for (const auto part :
                 {said.substr(0, first), said.substr(first, second - first), said.substr(second)}) {
                for (auto& line : conversation.say(part)) lines.push_back(std::move(line));
            }
            ASSERT_EQ(lines, expected) << "split at " << first << " and " << second;
        }
    }
    Conversation byte_by_byte;
    std::vector<std::string> lines;
    for (const char c : said) {
        for (auto& line : byte_by_byte.say({&c, 1})) lines.push_back(std::move(line));
    }
    EXPECT_EQ(lines, expected);
}

TEST(QmpSession, TellsWhatACommandThrew) {
    Conversation conversation;
    conversation.negotiate();
    conversation.table().add(
        {.name = "fail", .doc = "", .run = [](const Arguments&) -> json::value {
             throw Error("/dev/vhost-vdpa-0: busy");
         }});
    conversation.table().add(
        {.name = "fail-oddly", .doc = "", .run = [](const Arguments&) -> json::value {
             throw std::length_error("too long");
         }});
    conversation.table().add({.name = "fail-later",
                              .doc = "",
                              .run = [](const Arguments&) -> boost::asio::awaitable<json::value> {
                                  throw QmpError(ErrorClass::device_not_active, "not active");
                                  co_return json::object{};
                              }});
    EXPECT_THAT(
        conversation.say(R"({"execute":"fail","id":1})"),
        ElementsAre(
            R"({"id": 1, "error": {"class": "GenericError", "desc": "/dev/vhost-vdpa-0: busy"}})"));
    EXPECT_THAT(conversation.say(R"({"execute":"fail-oddly"})"),
                ElementsAre(R"({"error": {"class": "GenericError", "desc": "too long"}})"));
    EXPECT_THAT(conversation.say(R"({"execute":"fail-later"})"),
                ElementsAre(R"({"error": {"class": "DeviceNotActive", "desc": "not active"}})"));
}

TEST(QmpSession, GreetsWithTheVersionThatQueryVersionTells) {
    const auto greeting = Session::greeting();
    EXPECT_THAT(
        wire_text(greeting),
        testing::MatchesRegex(
            R"(\{"QMP": \{"version": \{"qemu": \{"micro": [0-9]+, "minor": [0-9]+, "major": [0-9]+\}, )"
            R"("package": "viaduct-[0-9]+\.[0-9]+\.[0-9]+"\}, "capabilities": \[\]\}\})"));
    Conversation conversation;
    const auto lines = conversation.negotiate().say(R"({"execute":"query-version"})");
    EXPECT_EQ(json::parse(lines.front()).at("return"), greeting.at("QMP").at("version"));
}

TEST(QmpSession, ListsItsCommandsByName) {
    Conversation conversation;
    EXPECT_THAT(
        conversation.negotiate().say(R"({"execute":"query-commands"})"),
        ElementsAre(
            R"({"return": [{"name": "balloon"}, {"name": "device_del"}, {"name": "qmp_capabilities"}, )"
            R"({"name": "query-commands"}, {"name": "query-name"}, {"name": "query-qmp-schema"}, )"
            R"({"name": "query-version"}, )"
            R"({"name": "set_link"}]})"));
}

TEST(QmpCommandTable, RefusesAnameThatIsTaken) {
    CommandTable table;
    EXPECT_THROW(table.add({.name = "query-version", .doc = "", .run = nothing}), Error);
}

TEST(QmpArguments, AreReadByTheirTypes) {
    const std::vector<Parameter> parameters{
        {.name = "s", .type = ArgumentType::string, .doc = ""},
        {.name = "i", .type = ArgumentType::integer, .doc = ""},
        {.name = "n", .type = ArgumentType::number, .doc = ""},
        {.name = "b", .type = ArgumentType::boolean, .doc = ""},
        {.name = "a", .type = ArgumentType::array, .doc = "", .need = Need::optional},
        {.name = "o", .type = ArgumentType::object, .doc = "", .need = Need::optional},
    };
    const Arguments given(parameters,
                          json::parse(R"({"s":"x","i":-3,"n":2,"b":true,"a":[1]})").as_object());
    EXPECT_EQ(given.get<std::string>("s"), "x");
    EXPECT_EQ(given.get<std::int64_t>("i"), -3);
    EXPECT_EQ(given.get<double>("n"), 2.0);
    EXPECT_TRUE(given.get<bool>("b"));
    EXPECT_EQ(given.find<json::array>("a"), json::array{1});
    EXPECT_EQ(given.find<json::object>("o"), std::nullopt);
    EXPECT_TRUE(given.has("a"));
    EXPECT_FALSE(given.has("o"));
}

TEST(QmpArguments, AcceptOnlyTheValuesThatAParameterNames) {
    const std::vector<Parameter> parameters{{.name = "mode",
                                             .type = ArgumentType::string,
                                             .doc = "",
                                             .need = Need::optional,
                                             .values = {"fast", "slow"}}};
    EXPECT_NO_THROW(Arguments(parameters, {{"mode", "slow"}}));
    EXPECT_NO_THROW(Arguments(parameters, {}));
    try {
        const Arguments refused(parameters, {{"mode", "warp"}});
        FAIL() << "an unknown mode was accepted";
    } catch (const QmpError& error) {
        EXPECT_STREQ(error.what(), "Parameter 'mode' does not accept value 'warp'");
    }
}

}  // namespace
}  // namespace viaduct::control
