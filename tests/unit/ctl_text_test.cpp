// What viaductctl shows to people and programs: units, tables, JSON, events, the screen.
#include <ctime>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/event_text.hpp"
#include "vmm/ctl/json_text.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/screen.hpp"
#include "vmm/ctl/table.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(CtlUnits, SizesAreInBytesUnlessTheySayOtherwise) {
    EXPECT_EQ(parse_size("--bps", "0"), 0U);
    EXPECT_EQ(parse_size("--bps", "4096"), 4096U);
    EXPECT_EQ(parse_size("--bps", "512K"), 512U << 10U);
    EXPECT_EQ(parse_size("--bps", "10M"), 10U << 20U);
    EXPECT_EQ(parse_size("--bps", "1g"), 1U << 30U);
    EXPECT_EQ(parse_size("--bps", "1T"), 1ULL << 40U);
    EXPECT_EQ(parse_size("--bps", "1.5K"), 1536U);
}

TEST(CtlUnits, ASizeThatIsNoneNamesTheOption) {
    for (const auto* const text :
         {"", "K", "-1", "-0", "10MB", "1X", "1e3", "inf", "nan", " 1", "99999999999999999999"}) {
        EXPECT_THAT([&] { (void)parse_size("--bps", text); },
                    ThrowsMessage<UsageError>(AllOf(HasSubstr("--bps"), HasSubstr("10M"))))
            << text;
    }
}

TEST(CtlUnits, CountsHaveNoUnit) {
    EXPECT_EQ(parse_count("--iops", "100"), 100U);
    for (const auto* const text : {"", "10K", "-1", "1.5", "99999999999999999999"}) {
        EXPECT_THAT([&] { (void)parse_count("--iops", text); },
                    ThrowsMessage<UsageError>(HasSubstr("--iops")))
            << text;
    }
}

TEST(CtlUnits, TimesAreInSecondsUnlessTheySayOtherwise) {
    EXPECT_EQ(parse_duration("--timeout", "5"), milliseconds(5000));
    EXPECT_EQ(parse_duration("--timeout", "5s"), milliseconds(5000));
    EXPECT_EQ(parse_duration("--timeout", "0.25"), milliseconds(250));
    EXPECT_EQ(parse_duration("--timeout", "20ms"), milliseconds(20));
    EXPECT_EQ(parse_duration("--timeout", "2m"), milliseconds(120'000));
    for (const auto* const text : {"", "s", "5 s", "-1s", "5h", "2000m"}) {
        EXPECT_THAT([&] { (void)parse_duration("--timeout", text); },
                    ThrowsMessage<UsageError>(HasSubstr("--timeout")))
            << text;
    }
}

TEST(CtlUnits, ShowThreeDigits) {
    EXPECT_EQ(format_size(0), "0 B");
    EXPECT_EQ(format_size(1023), "1023 B");
    EXPECT_EQ(format_size(1024), "1 KiB");
    EXPECT_EQ(format_size(1536), "1.50 KiB");
    EXPECT_EQ(format_size(10 << 20), "10 MiB");
    EXPECT_EQ(format_size(1048575), "1.00 MiB");
    EXPECT_EQ(format_size(1e18), "909495 TiB");
    EXPECT_EQ(format_nanoseconds(0), "0 ns");
    EXPECT_EQ(format_nanoseconds(999), "999 ns");
    EXPECT_EQ(format_nanoseconds(999.7), "1.00 µs");
    EXPECT_EQ(format_nanoseconds(12'340), "12.3 µs");
    EXPECT_EQ(format_nanoseconds(812'000), "812 µs");
    EXPECT_EQ(format_nanoseconds(9.999e6), "10.0 ms");
    EXPECT_EQ(format_nanoseconds(30e9), "30.0 s");
    EXPECT_EQ(format_rate(0), "0");
    EXPECT_EQ(format_rate(0.5), "0.50");
    EXPECT_EQ(format_rate(99.96), "100");
    EXPECT_EQ(format_rate(81'234.4), "81234");
    EXPECT_EQ(format_rate(123'456), "123k");
    EXPECT_EQ(format_rate(1.234e6), "1.23M");
}

TEST(CtlTable, AlignsItsColumnsAndLeavesNothingAtALinesEnd) {
    Table table({{"device"}, {"size", Align::right}, {"note"}});
    table.add({"disk0", "1 GiB", "x"});
    table.add({"longer-id", "12 B"});
    EXPECT_EQ(table.text(),
              "device      size  note\n"
              "disk0      1 GiB  x\n"
              "longer-id   12 B\n");
}

TEST(CtlTable, CountsCharactersNotBytes) {
    Table table({{"a", Align::right}, {"b"}});
    table.add({"5 µs", "x"});
    table.add({"10 ms", "y"});
    EXPECT_EQ(table.text(), "    a  b\n 5 µs  x\n10 ms  y\n");
}

TEST(CtlTable, LetsNoControlCharacterThrough) {
    Table table({{"a"}});
    table.add({"x\033[2Jy\n"});
    EXPECT_EQ(table.text(), "a\nx?[2Jy?\n");
    EXPECT_EQ(property_list({{"name", "a\tb"}, {"longer", "c"}}), "name    a?b\nlonger  c\n");
}

TEST(CtlJson, IsPrettyAndStaysTheSame) {
    const json::value value = json::parse(
        R"({"a": 1, "b": {}, "c": [], "d": [1, 2.5, -3], "e": [{"f": "x\"y\n"}, null], "g": true})");
    const std::string text = pretty(value);
    EXPECT_EQ(text,
              "{\n"
              "  \"a\": 1,\n"
              "  \"b\": {},\n"
              "  \"c\": [],\n"
              "  \"d\": [1, 2.5E0, -3],\n"
              "  \"e\": [\n"
              "    {\n"
              "      \"f\": \"x\\\"y\\n\"\n"
              "    },\n"
              "    null\n"
              "  ],\n"
              "  \"g\": true\n"
              "}");
    EXPECT_EQ(json::parse(text), value);
    EXPECT_EQ(pretty(7), "7");
}

TEST(CtlReply, ReadsWhatIsMissingOrOfAnotherKindAsNothing) {
    const json::value reply = json::parse(R"({"n": 7, "minus": -1, "s": "text", "b": true})");
    EXPECT_EQ(number(reply, "n"), 7U);
    EXPECT_EQ(number(reply, "minus"), std::nullopt);
    EXPECT_EQ(number(reply, "s"), std::nullopt);
    EXPECT_EQ(number(7, "n"), std::nullopt);
    EXPECT_EQ(text(reply, "s"), "text");
    EXPECT_EQ(text(reply, "n"), "-");
    EXPECT_TRUE(flag(reply, "b"));
    EXPECT_FALSE(flag(reply, "s"));
    EXPECT_TRUE(elements(reply).empty());
    EXPECT_EQ(digits(reply, "n"), "7");
    EXPECT_EQ(digits(reply, "none"), "-");
}

TEST(CtlEvents, AreALineWithTimeNameAndDetails) {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    EXPECT_EQ(event_text(json::parse(
                  R"({"event": "VDPA_DATAPATH_CHANGED", "data": {"id": "disk0", "blackout-us": 812,
                      "reason": "two words"}, "timestamp": {"seconds": 3661, "microseconds": 7999}})")),
              "01:01:01.007  VDPA_DATAPATH_CHANGED  id=disk0 blackout-us=812 reason=\"two words\"");
    EXPECT_EQ(event_text(json::parse(R"({"event": "STOP"})")), "-  STOP");
}

TEST(CtlScreen, FitsTheViewIntoTheTerminal) {
    EXPECT_EQ(redrawn("one\ntwo\n", 80, 24), "\033[Hone\033[K\ntwo\033[K\n\033[J");
    EXPECT_EQ(redrawn("lönger\nb\nc\n", 3, 3), "\033[Hlön\033[K\nb\033[K\n\033[J");
}

}  // namespace
}  // namespace viaduct::ctl
