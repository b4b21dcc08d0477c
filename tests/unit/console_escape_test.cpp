#include <string>

#include <gtest/gtest.h>

#include "vmm/console/escape.hpp"

namespace viaduct::console {
namespace {

using Command = EscapeParser::Command;

struct Keys : testing::Test {
    /// Types the keys; gives what the last of them asked for.
    Command type(std::string_view keys) {
        Command command = Command::none;
        for (const char key : keys) {
            std::vector<std::byte> pass;
            command = parser.feed(static_cast<std::byte>(key), pass);
            for (const std::byte byte : pass) passed.push_back(std::to_integer<char>(byte));
        }
        return command;
    }

    EscapeParser parser;
    std::string passed;
};

TEST_F(Keys, OrdinaryOnesAreTheGuests) {
    EXPECT_EQ(type("x\x03\x1a\xff\0a"), Command::none);
    EXPECT_EQ(passed, "x\x03\x1a\xff");
    passed.clear();
    EXPECT_EQ(type(std::string_view("\0b", 2)), Command::none);
    EXPECT_EQ(passed, std::string("\0b", 2));
}

TEST_F(Keys, CtrlAThenXQuits) {
    EXPECT_EQ(type("\x01x"), Command::quit);
    EXPECT_EQ(passed, "");
    EXPECT_EQ(type("x"), Command::none);
    EXPECT_EQ(passed, "x");
}

TEST_F(Keys, CtrlAThenHHelpsAndBBreaks) {
    EXPECT_EQ(type("\x01h"), Command::help);
    EXPECT_EQ(type("\x01?"), Command::help);
    EXPECT_EQ(type("\x01"
                   "b"),
              Command::send_break);
    EXPECT_EQ(passed, "");
}

TEST_F(Keys, CtrlAThenAOrCtrlASendsCtrlA) {
    EXPECT_EQ(type("\x01"
                   "a"),
              Command::none);
    EXPECT_EQ(type("\x01\x01"), Command::none);
    EXPECT_EQ(passed, "\x01\x01");
    EXPECT_EQ(type("x"), Command::none) << "the escape is over";
}

TEST_F(Keys, UnknownOnesPassWithTheirCtrlA) {
    EXPECT_EQ(type("\x01z"), Command::none);
    EXPECT_EQ(passed, "\x01z");
}

}  // namespace
}  // namespace viaduct::console
