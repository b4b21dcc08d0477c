#include "devices/rtc.hpp"

#include <array>
#include <optional>

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using std::chrono::sys_days;

class AlarmLine final : public InterruptLine {
public:
    void set(bool asserted) noexcept override { high = asserted; }
    bool high = false;
};

struct RealTimeClock : testing::Test {
    enum : std::uint8_t {
        second,
        second_alarm,
        minute,
        minute_alarm,
        hour,
        hour_alarm,
        weekday,
        day,
        month,
        year,
        a,
        b,
        c,
        d,
        century = Rtc::century_register
    };

    void select(unsigned index) {
        const std::byte byte{static_cast<std::uint8_t>(index)};
        rtc.write(0, {&byte, 1});
    }
    unsigned in(unsigned index) {
        select(index);
        std::byte byte{0x5a};
        rtc.read(1, {&byte, 1});
        return std::to_integer<unsigned>(byte);
    }
    void out(unsigned index, unsigned value) {
        select(index);
        const std::byte byte{static_cast<std::uint8_t>(value)};
        rtc.write(1, {&byte, 1});
    }
    /// Lets the host's time pass, its timer included.
    void pass(nanoseconds time) {
        const Rtc::Time end = now + time;
        while (wake_at && *wake_at <= end) {
            now = *wake_at;
            wake_at.reset();
            ++wakes;
            rtc.on_timer();
        }
        now = end;
    }

    // A Saturday.
    Rtc::Time now = sys_days(std::chrono::year(2024) / 2 / 17) + 23h + 58min + 7s;
    std::optional<Rtc::Time> wake_at;
    int asked = 0;
    int wakes = 0;
    AlarmLine line;
    Rtc rtc{line, [this] { return now; },
            [this](nanoseconds delay) {
                wake_at = now + delay;
                ++asked;
            }};
};

TEST_F(RealTimeClock, TellsTheHostsTimeInBcd) {
    EXPECT_EQ(in(second), 0x07U);
    EXPECT_EQ(in(minute), 0x58U);
    EXPECT_EQ(in(hour), 0x23U);
    EXPECT_EQ(in(weekday), 0x07U);
    EXPECT_EQ(in(day), 0x17U);
    EXPECT_EQ(in(month), 0x02U);
    EXPECT_EQ(in(year), 0x24U);
    EXPECT_EQ(in(century), 0x20U);
    pass(2min);
    EXPECT_EQ(in(hour), 0x00U);
    EXPECT_EQ(in(day), 0x18U);
    EXPECT_EQ(in(weekday), 0x01U);
}

TEST_F(RealTimeClock, TellsItInBinaryAndTwelveHoursWhenAsked) {
    out(b, 0x04);
    EXPECT_EQ(in(hour), 11U | 0x80U);
    EXPECT_EQ(in(minute), 58U);
    pass(1h);
    EXPECT_EQ(in(hour), 12U) << "midnight";
    pass(12h);
    EXPECT_EQ(in(hour), 12U | 0x80U) << "noon";
    out(b, 0x00);
    EXPECT_EQ(in(hour), 0x12U | 0x80U);
}

TEST_F(RealTimeClock, HasTheRegistersThatLinuxProbes) {
    EXPECT_EQ(in(a), 0x26U);
    EXPECT_EQ(in(b), 0x02U);
    EXPECT_EQ(in(c), 0x00U);
    EXPECT_EQ(in(d), 0x80U);
    out(d, 0);
    out(c, 0xff);
    EXPECT_EQ(in(d), 0x80U);
    EXPECT_EQ(in(c), 0x00U);
    out(a, 0xff);
    EXPECT_EQ(in(a), 0x7fU);
}

TEST_F(RealTimeClock, UpdateInProgressIsShortAndComesEverySecond) {
    EXPECT_EQ(in(a)&0x80U, 0U);
    pass(999'700us);
    EXPECT_EQ(in(a)&0x80U, 0U);
    pass(100us);
    EXPECT_EQ(in(a)&0x80U, 0x80U);
    EXPECT_EQ(in(second), 0x07U);
    pass(200us);
    EXPECT_EQ(in(a)&0x80U, 0U);
    EXPECT_EQ(in(second), 0x08U);
    pass(999'900us);
    out(b, 0x82);
    EXPECT_EQ(in(a)&0x80U, 0U) << "no update while the guest sets the time";
}

TEST_F(RealTimeClock, RunsOnFromTheTimeThatTheGuestSets) {
    out(b, 0x82);
    EXPECT_EQ(in(minute), 0x58U);
    out(second, 0x59);
    out(minute, 0x59);
    out(hour, 0x23);
    out(day, 0x31);
    out(month, 0x12);
    out(year, 0x99);
    out(century, 0x19);
    pass(10s);
    EXPECT_EQ(in(second), 0x59U) << "held";
    out(b, 0x02);
    EXPECT_EQ(in(second), 0x59U);
    pass(1s);
    EXPECT_EQ(in(second), 0x00U);
    EXPECT_EQ(in(day), 0x01U);
    EXPECT_EQ(in(year), 0x00U);
    EXPECT_EQ(in(century), 0x20U);
}

TEST_F(RealTimeClock, NonsenseBecomesSomeTime) {
    for (const unsigned format : {0x02U, 0x00U, 0x04U, 0x06U}) {
        out(b, 0x80 | format);
        for (const unsigned index : {second, minute, hour, day, month, year, century}) {
            out(index, 0xff);
        }
        out(b, format);
        for (unsigned index = 0; index < 128; ++index) in(index);
        out(b, 0x80 | format);
        for (const unsigned index : {second, minute, hour, day, month, year, century}) {
            out(index, 0);
        }
        out(b, format);
        for (unsigned index = 0; index < 128; ++index) in(index);
        pass(1s);
        EXPECT_EQ(in(second), 0x01U);
    }
}

TEST_F(RealTimeClock, KeepsTheGuestsMemory) {
    for (unsigned index = 0x0e; index < Rtc::cell_count; ++index) {
        if (index != century) out(index, index ^ 0x55U);
    }
    for (unsigned index = 0x0e; index < Rtc::cell_count; ++index) {
        if (index != century) {
            EXPECT_EQ(in(index), index ^ 0x55U);
        }
    }
    EXPECT_EQ(in(0x80 | 0x40), 0x40U ^ 0x55U) << "bit 7 of the index masks NMI";
}

TEST_F(RealTimeClock, IndexPortIsWriteOnlyAndWidthsAreHarmless) {
    std::array<std::byte, 8> bytes{};
    rtc.read(0, bytes);
    EXPECT_EQ(bytes[0], std::byte{0xff});
    EXPECT_EQ(std::to_integer<unsigned>(bytes[1]), 0x07U);
    EXPECT_EQ(bytes[2], std::byte{0xff});
    bytes.fill(std::byte{0x50});
    rtc.write(0, bytes);
    EXPECT_EQ(in(0x50), 0x50U) << "index and byte in one access";
    rtc.write(~0ULL, bytes);
}

TEST_F(RealTimeClock, UpdateInterruptComesOnceUntilItIsAcknowledged) {
    out(b, 0x12);
    pass(999ms);
    EXPECT_FALSE(line.high);
    pass(1ms);
    EXPECT_TRUE(line.high);
    const int first = wakes;
    pass(1h);
    EXPECT_EQ(wakes, first) << "a storm";
    EXPECT_EQ(in(c), 0xf0U) << "the alarm at 00:00:00 fell into the hour";
    EXPECT_FALSE(line.high);
    EXPECT_EQ(in(c), 0x00U);
    pass(1s);
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(c), 0xd0U);
    out(b, 0x02);
    pass(1min);
    EXPECT_FALSE(line.high);
}

TEST_F(RealTimeClock, AlarmComesAtItsTime) {
    out(second_alarm, 0x30);
    out(minute_alarm, 0x02);
    out(hour_alarm, 0x00);
    out(b, 0x22);
    pass(4min + 22s);  // 00:02:29
    EXPECT_FALSE(line.high);
    pass(1s);
    EXPECT_TRUE(line.high);
    EXPECT_EQ(wakes, 1) << "one timer for the whole wait";
    EXPECT_EQ(in(c), 0xf0U);
    pass(24h - 1s);
    EXPECT_FALSE(line.high);
    pass(1s);
    EXPECT_TRUE(line.high);
}

TEST_F(RealTimeClock, AlarmRegistersThatMatchAllRepeat) {
    out(second_alarm, 0x15);
    out(minute_alarm, 0xc0);
    out(hour_alarm, 0xff);
    out(b, 0x22);
    for (int i = 0; i < 3; ++i) {
        pass(1min);
        EXPECT_TRUE(line.high);
        EXPECT_EQ(in(c)&0x20U, 0x20U);
        EXPECT_FALSE(line.high);
    }
}

TEST_F(RealTimeClock, AlarmThatNeverMatchesNeverComes) {
    out(hour_alarm, 0x77);
    out(b, 0x22);
    pass(72h);
    EXPECT_FALSE(line.high);
    EXPECT_EQ(wakes, 0);
}

TEST_F(RealTimeClock, PeriodicInterruptHasTheRateOfRegisterA) {
    out(a, 0x2d);  // 8 Hz
    out(b, 0x42);
    int seen = 0;
    for (int i = 0; i < 1000; ++i) {
        pass(1ms);
        if (line.high) {
            ++seen;
            EXPECT_EQ(in(c)&0xc0U, 0xc0U);
        }
    }
    EXPECT_EQ(seen, 8);
    out(a, 0x20);
    in(c);
    pass(10s);
    EXPECT_FALSE(line.high) << "no rate, no interrupt";
}

TEST_F(RealTimeClock, AsksForItsTimerOnceHoweverOftenTheGuestLooks) {
    out(b, 0x12);
    for (int i = 0; i < 100; ++i) {
        in(second);
        now += 1ms;
    }
    EXPECT_EQ(asked, 1);
}

TEST_F(RealTimeClock, AGuestThatPollsNeedsNoTimer) {
    in(c);
    now += 1s;
    EXPECT_EQ(in(c)&0x50U, 0x50U);
    EXPECT_FALSE(wake_at);
    EXPECT_FALSE(line.high);
}

TEST_F(RealTimeClock, AHostClockSetBackDoesNoHarm) {
    out(b, 0x12);
    in(c);
    now -= 24h;
    EXPECT_EQ(in(c), 0U);
    EXPECT_EQ(in(day), 0x16U);
    now += 1s;
    EXPECT_EQ(in(c), 0xd0U);
}

TEST_F(RealTimeClock, StateSurvivesTheMoveAndAnAlarmInBetween) {
    out(0x40, 0x99);
    out(b, 0x82);
    out(year, 0x30);
    out(b, 0x02);
    out(second_alarm, 0x10);
    out(minute_alarm, 0xff);
    out(hour_alarm, 0xff);
    out(b, 0x22);
    select(year);
    const Rtc::State state = rtc.save();
    now += 1min;
    AlarmLine other_line;
    Rtc other(other_line, [this] { return now; });
    other.load(state);
    EXPECT_TRUE(other_line.high);
    std::byte byte{};
    other.read(1, {&byte, 1});
    EXPECT_EQ(std::to_integer<unsigned>(byte), 0x30U);
    EXPECT_EQ(other.save().cells[0x40], 0x99);
    Rtc::State unknown;
    unknown.version = 2;
    EXPECT_THROW(other.load(unknown), Error);
}

TEST_F(RealTimeClock, ResetKeepsMemoryAndTimeAndStopsInterrupts) {
    out(0x40, 0x99);
    out(b, 0x12);
    pass(1s);
    EXPECT_TRUE(line.high);
    rtc.reset();
    EXPECT_FALSE(line.high);
    EXPECT_EQ(in(b), 0x02U);
    EXPECT_EQ(in(0x40), 0x99U);
    EXPECT_EQ(in(second), 0x08U);
}

}  // namespace
}  // namespace viaduct::devices
