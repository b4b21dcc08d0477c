#include <array>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "devices/reset_control.hpp"

namespace viaduct::devices {
namespace {

void out(BusDevice& device, unsigned value, std::uint64_t offset = 0) {
    const std::byte byte{static_cast<std::uint8_t>(value)};
    device.write(offset, {&byte, 1});
}

unsigned in(BusDevice& device) {
    std::byte byte{0x5a};
    device.read(0, {&byte, 1});
    return std::to_integer<unsigned>(byte);
}

TEST(ResetRegister, ResetsWhenLinuxWritesItsTwoSteps) {
    int resets = 0;
    ResetRegister device([&] { ++resets; });
    out(device, in(device) | 0x02U);
    EXPECT_EQ(resets, 0);
    EXPECT_EQ(in(device), 0x02U);
    out(device, in(device) | 0x06U);
    EXPECT_EQ(resets, 1);
}

TEST(ResetRegister, ResetsByTheValueThatAcpiNames) {
    int resets = 0;
    ResetRegister device([&] { ++resets; });
    out(device, ResetRegister::reset_value);
    EXPECT_EQ(resets, 1);
}

TEST(ResetRegister, OtherWritesDoNotReset) {
    int resets = 0;
    ResetRegister device([&] { ++resets; });
    out(device, 0xf9);
    out(device, 0x06, 1);
    device.write(0, {});
    EXPECT_EQ(resets, 0);
    EXPECT_EQ(in(device), 0U);
}

TEST(ResetRegister, StateSurvivesTheMove) {
    ResetRegister device([] {});
    out(device, 0x02);
    ResetRegister other([] {});
    other.load(device.save());
    EXPECT_EQ(in(other), 0x02U);
    ResetRegister::State unknown;
    unknown.version = 2;
    EXPECT_THROW(other.load(unknown), Error);
    other.reset();
    EXPECT_EQ(in(other), 0U);
}

TEST(KeyboardReset, ResetsByThePulseOnItsLineZero) {
    int resets = 0;
    KeyboardReset device([&] { ++resets; });
    for (const unsigned command : {0x20U, 0xaaU, 0xd1U, 0xedU, 0xffU, 0xf1U}) out(device, command);
    EXPECT_EQ(resets, 0);
    out(device, 0xfe);
    EXPECT_EQ(resets, 1);
}

TEST(KeyboardReset, IsAlwaysReadyForACommandAndHasNothingToFetch) {
    KeyboardReset device([] {});
    out(device, 0x20);
    EXPECT_EQ(in(device), 0U);
    std::array<std::byte, 8> wide{};
    wide.fill(std::byte{0xff});
    device.read(0, wide);
    EXPECT_EQ(wide.back(), std::byte{0});
}

}  // namespace
}  // namespace viaduct::devices
