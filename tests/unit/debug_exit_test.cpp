#include "devices/debug_exit.hpp"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace viaduct::devices {
namespace {

struct DebugExitPort : testing::Test {
    std::vector<std::uint32_t> values;
    DebugExit port{[this](std::uint32_t value) { values.push_back(value); }};
};

TEST_F(DebugExitPort, ReportsValuesOfEachWidth) {
    const std::array bytes{std::byte{0x78}, std::byte{0x56}, std::byte{0x34}, std::byte{0x12}};
    port.write(0, std::span(bytes).first(1));
    port.write(0, std::span(bytes).first(2));
    port.write(0, bytes);
    EXPECT_EQ(values, (std::vector<std::uint32_t>{0x78, 0x5678, 0x12345678}));
}

TEST_F(DebugExitPort, IgnoresAccessesThatNoPortHas) {
    const std::array<std::byte, 8> bytes{};
    port.write(0, bytes);
    port.write(0, {});
    EXPECT_TRUE(values.empty());
}

TEST_F(DebugExitPort, ReadsAllOnes) {
    std::array<std::byte, 8> bytes{};
    port.read(0, bytes);
    for (const std::byte byte : bytes) EXPECT_EQ(byte, std::byte{0xff});
    EXPECT_TRUE(values.empty());
}

TEST_F(DebugExitPort, StatusIsQemusAndNeverSuccess) {
    EXPECT_EQ(DebugExit::exit_status(0), 1);
    EXPECT_EQ(DebugExit::exit_status(0x10), 33);
    EXPECT_EQ(DebugExit::exit_status(0xff), 255);
    EXPECT_EQ(DebugExit::exit_status(0xffff'ff80), 1);
}

}  // namespace
}  // namespace viaduct::devices
