#include "devices/power.hpp"

#include <array>

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

class Line final : public InterruptLine {
public:
    void set(bool asserted) noexcept override { high = asserted; }
    bool high = false;
};

struct PowerManagement : testing::Test {
    static constexpr std::uint64_t status = Power::event_offset;
    static constexpr std::uint64_t enable = Power::event_offset + 2;
    static constexpr std::uint64_t control = Power::control_offset;
    static constexpr unsigned power_button = 1U << 8;
    static constexpr unsigned sleep_enable = 1U << 13;

    unsigned in(std::uint64_t offset) {
        std::array<std::byte, 2> bytes{};
        power.read(offset, bytes);
        return std::to_integer<unsigned>(bytes[0]) | std::to_integer<unsigned>(bytes[1]) << 8U;
    }
    void out(std::uint64_t offset, unsigned value) {
        const std::array bytes{std::byte{static_cast<std::uint8_t>(value)},
                               std::byte{static_cast<std::uint8_t>(value >> 8U)}};
        power.write(offset, bytes);
    }

    Line sci;
    int power_offs = 0;
    Power power{sci, [this] { ++power_offs; }};
};

TEST_F(PowerManagement, IsAlwaysInAcpiMode) {
    EXPECT_EQ(in(control), 1U);
    out(control, 0);
    EXPECT_EQ(in(control), 1U);
}

TEST_F(PowerManagement, SleepTypeFiveWithSleepEnablePowersOff) {
    out(control, Power::s5_sleep_type << 10U);
    EXPECT_EQ(power_offs, 0);
    out(control, Power::s5_sleep_type << 10U | sleep_enable);
    EXPECT_EQ(power_offs, 1);
    EXPECT_EQ(in(control)&sleep_enable, 0U) << "write-only";
}

TEST_F(PowerManagement, OtherSleepTypesDoNothing) {
    for (unsigned type = 0; type < 8; ++type) {
        if (type != Power::s5_sleep_type) out(control, type << 10U | sleep_enable);
    }
    EXPECT_EQ(power_offs, 0);
}

TEST_F(PowerManagement, PowerButtonRaisesTheSciUntilItsStatusIsCleared) {
    power.press_power_button();
    EXPECT_FALSE(sci.high) << "not enabled yet";
    EXPECT_EQ(in(status), power_button);
    out(enable, power_button);
    EXPECT_TRUE(sci.high);
    out(status, 0);
    EXPECT_TRUE(sci.high) << "a 0 clears nothing";
    out(status, power_button);
    EXPECT_FALSE(sci.high);
    EXPECT_EQ(in(status), 0U);
    EXPECT_EQ(in(enable), power_button);
    power.press_power_button();
    EXPECT_TRUE(sci.high);
    out(enable, 0);
    EXPECT_FALSE(sci.high);
}

TEST_F(PowerManagement, EnableKeepsTheBitsThatExist) {
    out(enable, 0xffff);
    EXPECT_EQ(in(enable), 0x0721U);
    EXPECT_EQ(in(status), 0U);
}

TEST_F(PowerManagement, EveryWidthIsDecodedByteByByte) {
    power.press_power_button();
    std::array<std::byte, 8> bytes{};
    bytes.fill(std::byte{0xff});
    power.read(0, bytes);
    EXPECT_EQ(std::to_integer<unsigned>(bytes[1]), 1U);
    EXPECT_EQ(std::to_integer<unsigned>(bytes[4]), 1U);
    EXPECT_EQ(std::to_integer<unsigned>(bytes[6]), 0U);
    bytes.fill(std::byte{0});
    bytes[1] = std::byte{1};     // clears the button
    bytes[3] = std::byte{1};     // enables it
    bytes[5] = std::byte{0x34};  // S5
    power.write(0, bytes);
    EXPECT_EQ(in(status), 0U);
    EXPECT_EQ(in(enable), power_button);
    EXPECT_EQ(power_offs, 1);
    const std::byte high{0x34};
    power.write(control + 1, {&high, 1});
    EXPECT_EQ(power_offs, 2);
    power.write(Power::port_count, bytes);
    power.write(~0ULL, {&high, 1});
    EXPECT_EQ(power_offs, 2);
}

TEST_F(PowerManagement, StateSurvivesTheMoveToAnotherMachine) {
    out(enable, power_button);
    out(control, 3U << 10U);
    power.press_power_button();
    Line other_sci;
    Power other(other_sci, [] {});
    other.load(power.save());
    EXPECT_TRUE(other_sci.high);
    EXPECT_EQ(other.save(), power.save());
    Power::State unknown;
    unknown.version = 2;
    EXPECT_THROW(other.load(unknown), Error);
}

TEST_F(PowerManagement, ResetForgetsThePress) {
    out(enable, power_button);
    power.press_power_button();
    power.reset();
    EXPECT_FALSE(sci.high);
    EXPECT_EQ(power.save(), Power::State{});
}

}  // namespace
}  // namespace viaduct::devices
