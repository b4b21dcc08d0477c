#include "base/log_allowance.hpp"

#include <optional>
#include <string>

#include <gmock/gmock.h>

namespace viaduct {
namespace {

using namespace std::chrono_literals;

class LogAllowances : public testing::Test {
protected:
    void SetUp() override { testing::internal::CaptureStderr(); }
    void TearDown() override { (void)testing::internal::GetCapturedStderr(); }

    /// Has it say that many numbered lines; returns what was written.
    std::string say(int lines) {
        for (int i = 0; i < lines; ++i) allowance_->warning("line {}", ++said_);
        return written();
    }
    static std::string written() {
        std::string text = testing::internal::GetCapturedStderr();
        testing::internal::CaptureStderr();
        return text;
    }

    LogAllowance::Clock::time_point now_;
    std::optional<LogAllowance> allowance_{std::in_place, "card",
                                           LogAllowance::Rate{.lines = 3, .refill = 60s},
                                           [this] { return now_; }};
    int said_ = 0;
};

TEST_F(LogAllowances, WriteTheFirstLinesAndLeaveOutTheRest) {
    EXPECT_EQ(say(100),
              "viaduct: warning: line 1\nviaduct: warning: line 2\nviaduct: warning: line 3\n");
}

TEST_F(LogAllowances, SayWithTheNextLineHowManyWereLeftOut) {
    say(100);
    now_ += 60s;
    EXPECT_EQ(say(1), "viaduct: warning: line 101 (lines left out before it: 97)\n");
    now_ += 60s;
    EXPECT_EQ(say(1), "viaduct: warning: line 102\n");
}

TEST_F(LogAllowances, AreRefilledByOneLineInEachPeriod) {
    say(3);
    now_ += 59s;
    EXPECT_EQ(say(1), "");
    now_ += 1s;
    EXPECT_EQ(say(2), "viaduct: warning: line 5 (lines left out before it: 1)\n");
    now_ += 120s;
    EXPECT_EQ(say(3),
              "viaduct: warning: line 7 (lines left out before it: 1)\n"
              "viaduct: warning: line 8\n");
}

TEST_F(LogAllowances, HoldNoMoreThanTheirLinesAfterALongSilence) {
    now_ += 24h * 365;
    EXPECT_EQ(say(5),
              "viaduct: warning: line 1\nviaduct: warning: line 2\nviaduct: warning: line 3\n");
}

TEST_F(LogAllowances, TellAtTheEndWhatWasLeftOut) {
    say(5);
    allowance_.reset();
    EXPECT_EQ(written(), "viaduct: warning: card: lines left out: 2\n");
}

TEST_F(LogAllowances, SayNothingAtTheEndWhenNothingWasLeftOut) {
    say(3);
    allowance_.reset();
    EXPECT_EQ(written(), "");
}

TEST_F(LogAllowances, KeepTheLevelOfTheLine) {
    allowance_->error("it broke");
    EXPECT_EQ(written(), "viaduct: error: it broke\n");
}

}  // namespace
}  // namespace viaduct
