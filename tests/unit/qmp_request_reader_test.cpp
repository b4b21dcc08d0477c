#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>

#include "vmm/control/request_reader.hpp"
#include "vmm/control/wire_text.hpp"

namespace viaduct::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::size_t most_bytes = 65536;

std::vector<std::string> drain(RequestReader& reader) {
    std::vector<std::string> lines;
    while (const auto request = reader.next()) {
        const auto* value = std::get_if<boost::json::value>(&*request);
        lines.push_back(value != nullptr ? wire_text(*value)
                                         : "! " + std::string(std::get<QmpError>(*request).what()));
    }
    return lines;
}

std::vector<std::string> read(std::string_view bytes) {
    RequestReader reader(most_bytes);
    reader.push(bytes);
    return drain(reader);
}

std::string nested(std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

TEST(QmpRequestReader, TakesValuesWithAnythingOrNothingBetweenThem) {
    EXPECT_THAT(read("{}[] {\"a\":1}\r\n\t\"x\"12 true\n[2"),
                ElementsAre("{}", "[]", "{\"a\": 1}", "\"x\"", "12", "true"));
}

TEST(QmpRequestReader, DoesNotTakeBracketsInStringsForBrackets) {
    EXPECT_THAT(read(R"(["}]\"","\\"]{"[":"{"})"),
                ElementsAre(R"(["}]\"", "\\"])", R"({"[": "{"})"));
}

TEST(QmpRequestReader, TellsWhereTheMistakeIs) {
    EXPECT_THAT(read("{\"a\" x}"),
                ElementsAre("! JSON parse error, syntax error at byte 5 of the request"));
    EXPECT_THAT(read("{\"a\":\"x\ty\" "),
                ElementsAre("! JSON parse error, stray byte 0x09", HasSubstr("at byte 0")));
}

TEST(QmpRequestReader, LimitsNestingAndGoesOnBehindIt) {
    EXPECT_EQ(read(nested(1024)).front().front(), '[');
    EXPECT_THAT(read(nested(1025) + "{}"),
                ElementsAre("! JSON nesting depth limit exceeded", "{}"));
}

TEST(QmpRequestReader, GivesUpOnAValueThatIsTooLarge) {
    const auto of_size = [](std::size_t size) { return "\"" + std::string(size - 2, 'x') + "\""; };
    EXPECT_EQ(read(of_size(most_bytes)).front().size(), most_bytes);
    for (const auto& large : {of_size(most_bytes + 1), std::string(most_bytes + 1, '['),
                              std::string(most_bytes + 1, '7')}) {
        RequestReader reader(most_bytes);
        reader.push(large + "{}");
        EXPECT_THAT(
            drain(reader),
            ElementsAre("! The request is larger than 65536 bytes, closing the connection"));
        EXPECT_TRUE(reader.overflowed());
        EXPECT_FALSE(reader.next());
    }
}

TEST(QmpRequestReader, WhiteSpaceAndFinishedRequestsDoNotCountAsLarge) {
    RequestReader reader(most_bytes);
    const std::string blank(10'000, ' ');
    for (std::size_t pushed = 0; pushed < 3 * most_bytes; pushed += blank.size()) {
        reader.push(blank + "{}");
        EXPECT_THAT(drain(reader), ElementsAre("{}"));
    }
    EXPECT_FALSE(reader.overflowed());
}

TEST(QmpRequestReader, FindsItsPlaceAgainAfterByte0xff) {
    for (const std::string_view lost : {"[{", "{\"a", "\"\\", "xy", "[[]"}) {
        const auto lines = read(std::string(lost) + "\xff{}");
        ASSERT_THAT(lines, testing::SizeIs(2)) << lost;
        EXPECT_EQ(lines.back(), "{}") << lost;
    }
}

std::string junk(std::mt19937& random) {
    // Half of it is made of what means something in JSON, so that states beyond the first are met.
    constexpr std::string_view alphabet = "{}[]\",:\\ \n\tu0d8x1-.etrufalsn";
    std::string bytes(std::uniform_int_distribution<std::size_t>(1, 200)(random), '\0');
    for (auto& byte : bytes) {
        const auto number = random();
        byte = (number & 1U) != 0 ? alphabet[(number >> 8U) % alphabet.size()]
                                  : static_cast<char>(number >> 24U);
    }
    return bytes;
}

TEST(QmpRequestReader, ReadsJunkTheSameInWhateverPiecesItComes) {
    std::mt19937 random(20240229);
    for (int round = 0; round < 1'000; ++round) {
        const auto bytes = junk(random);
        RequestReader pieces(most_bytes);
        std::vector<std::string> lines;
        for (std::size_t at = 0; at < bytes.size();) {
            const auto size = std::uniform_int_distribution<std::size_t>(1, 20)(random);
            pieces.push(std::string_view(bytes).substr(at, size));
            at += size;
            for (auto& line : drain(pieces)) lines.push_back(std::move(line));
        }
        ASSERT_EQ(lines, read(bytes)) << testing::PrintToString(bytes);
        pieces.push("\xff{\"a\":1}");
        ASSERT_EQ(drain(pieces).back(), "{\"a\": 1}") << testing::PrintToString(bytes);
    }
}

TEST(QmpWireText, IsAsciiAsQemuWritesIt) {
    EXPECT_EQ(wire_text({{"a", {1, -2, 0.5, 1e300}}, {"b", nullptr}, {"c", {true, false}}}),
              R"({"a": [1, -2, 0.5, 1e+300], "b": null, "c": [true, false]})");
    EXPECT_EQ(wire_text("\"\\/\b\f\n\r\t\x01\x1f\x7f~"), R"("\"\\/\b\f\n\r\t\u0001\u001F\u007F~")");
    EXPECT_EQ(wire_text("\u00e9\u20ac\U0001f600"), R"("\u00E9\u20AC\uD83D\uDE00")");
    EXPECT_EQ(wire_text(boost::json::array{}), "[]");
    EXPECT_EQ(wire_text(boost::json::object{}), "{}");
}

TEST(QmpWireText, ReplacesWhatIsNoUtf8) {
    EXPECT_EQ(wire_text("a\x80z"), R"("a\uFFFDz")");
    EXPECT_EQ(wire_text("a\xc3"), R"("a\uFFFD")");
    EXPECT_EQ(wire_text("\xc0\x80"), R"("\uFFFD\uFFFD")");
    EXPECT_EQ(wire_text("\xed\xa0\x80"), R"("\uFFFD\uFFFD\uFFFD")");
    EXPECT_EQ(wire_text("\xf4\x90\x80\x80!"), R"("\uFFFD\uFFFD\uFFFD\uFFFD!")");
    EXPECT_EQ(wire_text("\xe2\x82x"), R"("\uFFFD\uFFFDx")");
    EXPECT_EQ(wire_text(std::numeric_limits<double>::infinity()), "null");
}

}  // namespace
}  // namespace viaduct::control
