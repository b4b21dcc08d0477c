#include "devices/bus.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

namespace viaduct::devices {
namespace {

/// Reads give the offset; the last write is kept.
class Recorder final : public BusDevice {
public:
    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override {
        std::memcpy(bytes.data(), &offset, std::min(bytes.size(), sizeof offset));
    }
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override {
        last_offset = offset;
        last_width = bytes.size();
        ++writes;
    }
    std::uint64_t last_offset = 0;
    std::size_t last_width = 0;
    unsigned writes = 0;
};

std::uint64_t read(const Bus& bus, std::uint64_t address, std::size_t width) {
    std::uint64_t value = 0;
    bus.read(address, std::as_writable_bytes(std::span(&value, 1)).first(width));
    return value;
}

void write(const Bus& bus, std::uint64_t address, std::size_t width) {
    const std::uint64_t value = 0;
    bus.write(address, std::as_bytes(std::span(&value, 1)).first(width));
}

TEST(Bus, GivesEachDeviceItsOwnOffsets) {
    Bus bus;
    auto low = std::make_shared<Recorder>();
    auto high = std::make_shared<Recorder>();
    ASSERT_TRUE(bus.add(0x2000, 0x1000, high));
    ASSERT_TRUE(bus.add(0x1000, 0x1000, low));
    EXPECT_EQ(read(bus, 0x1010, 4), 0x10U);
    EXPECT_EQ(read(bus, 0x2ffc, 4), 0xffcU);
    write(bus, 0x2008, 2);
    EXPECT_EQ(high->last_offset, 8U);
    EXPECT_EQ(high->last_width, 2U);
    EXPECT_EQ(low->writes, 0U);
}

TEST(Bus, ReadsAllOnesWhereNothingStands) {
    Bus bus;
    auto device = std::make_shared<Recorder>();
    ASSERT_TRUE(bus.add(0x1000, 0x1000, device));
    EXPECT_EQ(read(bus, 0xfff, 1), 0xffU);
    EXPECT_EQ(read(bus, 0x2000, 8), ~std::uint64_t{0});
    write(bus, 0x2000, 4);
    EXPECT_EQ(device->writes, 0U);
}

TEST(Bus, ReadsAllOnesAcrossTheEndOfARange) {
    Bus bus;
    auto device = std::make_shared<Recorder>();
    ASSERT_TRUE(bus.add(0x1000, 0x1000, device));
    ASSERT_TRUE(bus.add(0x2000, 0x1000, std::make_shared<Recorder>()));
    EXPECT_EQ(read(bus, 0x1ffe, 4), 0xffffffffU);
    EXPECT_EQ(read(bus, 0xffe, 4), 0xffffffffU);
    write(bus, 0x1ffe, 4);
    EXPECT_EQ(device->writes, 0U);
}

TEST(Bus, RefusesARangeThatOverlapsWrapsOrIsEmpty) {
    Bus bus;
    auto device = std::make_shared<Recorder>();
    ASSERT_TRUE(bus.add(0x2000, 0x1000, device));
    EXPECT_FALSE(bus.add(0x2000, 0x1000, device));
    EXPECT_FALSE(bus.add(0x1fff, 2, device));
    EXPECT_FALSE(bus.add(0x2fff, 1, device));
    EXPECT_FALSE(bus.add(0x1000, 0x3000, device));
    EXPECT_FALSE(bus.add(0x5000, 0, device));
    EXPECT_FALSE(bus.add(~std::uint64_t{0}, 2, device));
    EXPECT_TRUE(bus.add(0x1000, 0x1000, device));
    EXPECT_TRUE(bus.add(0x3000, 0x1000, device));
}

TEST(Bus, ReachesTheLastByteOfTheAddressSpace) {
    Bus bus;
    ASSERT_TRUE(bus.add(~std::uint64_t{0} - 0xfff, 0x1000, std::make_shared<Recorder>()));
    EXPECT_EQ(read(bus, ~std::uint64_t{0}, 1), 0xffU & 0xfffU);
    EXPECT_EQ(read(bus, ~std::uint64_t{0} - 3, 4), 0xffcU);
    EXPECT_EQ(read(bus, ~std::uint64_t{0} - 3, 8), ~std::uint64_t{0});
}

TEST(Bus, KeepsADeviceAliveOnlyWhileItIsThere) {
    Bus bus;
    auto device = std::make_shared<Recorder>();
    ASSERT_TRUE(bus.add(0x1000, 0x1000, device));
    EXPECT_EQ(device.use_count(), 2);
    bus.remove(0x1000);
    EXPECT_EQ(device.use_count(), 1);
    EXPECT_EQ(read(bus, 0x1000, 1), 0xffU);
    bus.remove(0x1000);
    EXPECT_TRUE(bus.add(0x1000, 0x1000, device));
}

TEST(Bus, AnswersWhileRangesComeAndGo) {
    Bus bus;
    ASSERT_TRUE(bus.add(0x1000, 0x1000, std::make_shared<Recorder>()));
    std::atomic<bool> stop = false;
    std::atomic<unsigned> wrong = 0;
    std::thread reader([&] {
        while (!stop) {
            if (read(bus, 0x1004, 4) != 4) ++wrong;
            const auto moving = read(bus, 0x8008, 4);
            if (moving != 8 && moving != 0xffffffff) ++wrong;
        }
    });
    for (unsigned i = 0; i < 500; ++i) {
        EXPECT_TRUE(bus.add(0x8000, 0x1000, std::make_shared<Recorder>()));
        bus.remove(0x8000);
    }
    stop = true;
    reader.join();
    EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace viaduct::devices
