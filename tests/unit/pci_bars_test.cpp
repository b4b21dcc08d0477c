#include <linux/pci_regs.h>

#include <array>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "devices/pci/bars.hpp"
#include "tests/unit/virtio_pci_fakes.hpp"

namespace viaduct::pci {
namespace {

class Constant final : public devices::BusDevice {
public:
    explicit Constant(std::uint8_t value) : value_(value) {}
    void read(std::uint64_t /*offset*/, std::span<std::byte> bytes) noexcept override {
        for (std::byte& byte : bytes) byte = std::byte{value_};
    }
    void write(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) noexcept override {}

private:
    std::uint8_t value_;
};

constexpr std::uint64_t ram_end = 0x1000'0000;

/// A function with a 32-bit BAR 0 that reads 0x10 + n and a 64-bit BAR 2 that reads 0x20 + n.
struct Card {
    Card(devices::Bus& bus, std::uint8_t n)
        : bars(
              config, bus, [](Gpa address, std::uint64_t) { return address.value >= ram_end; },
              "card") {
        bars.add(0, {.size = 0x1000}, std::make_shared<Constant>(0x10 + n));
        bars.add(2, {.size = 0x2000, .wide = true}, std::make_shared<Constant>(0x20 + n),
                 [this](std::optional<Gpa> address) { second_at = address; });
    }
    void put(std::uint16_t offset, std::uint32_t value) {
        config.write(offset, std::as_bytes(std::span(&value, 1)));
        bars.update();
    }
    void enable(bool on) { put(PCI_COMMAND, on ? PCI_COMMAND_MEMORY : 0); }

    ConfigSpace config{Identity{.vendor = 1}};
    std::optional<Gpa> second_at;
    Bars bars;
};

unsigned peek(const devices::Bus& bus, std::uint64_t address) {
    std::byte value{};
    bus.read(address, std::span(&value, 1));
    return std::to_integer<unsigned>(value);
}

class PciBars : public testing::Test {
public:
    const test::QuietLog quiet;
    devices::Bus bus;
};

TEST_F(PciBars, AreOnTheBusWhileMemorySpaceIsEnabled) {
    Card card(bus, 0);
    card.put(PCI_BASE_ADDRESS_0, 0xe0000000);
    card.put(PCI_BASE_ADDRESS_2, 0);
    card.put(PCI_BASE_ADDRESS_3, 8);
    EXPECT_EQ(peek(bus, 0xe0000000), 0xffU);
    card.enable(true);
    EXPECT_EQ(peek(bus, 0xe0000fff), 0x10U);
    EXPECT_EQ(peek(bus, 0x8'0000'1fff), 0x20U);
    EXPECT_EQ(card.second_at, Gpa{0x8'0000'0000});
    card.enable(false);
    EXPECT_EQ(peek(bus, 0xe0000000), 0xffU);
    EXPECT_EQ(peek(bus, 0x8'0000'0000), 0xffU);
    EXPECT_EQ(card.second_at, std::nullopt);
}

TEST_F(PciBars, MoveWithTheGuestsWrite) {
    Card card(bus, 0);
    card.put(PCI_BASE_ADDRESS_0, 0xe0000000);
    card.enable(true);
    card.put(PCI_BASE_ADDRESS_0, 0xe0005000);
    EXPECT_EQ(peek(bus, 0xe0000000), 0xffU);
    EXPECT_EQ(peek(bus, 0xe0005000), 0x10U);
}

TEST_F(PciBars, StayOffTheBusAtAddressZero) {
    Card card(bus, 0);
    card.enable(true);
    EXPECT_EQ(card.second_at, std::nullopt);
    EXPECT_EQ(card.bars.refusals(), 0U);
}

TEST_F(PciBars, LeaveNothingBehindWhenSizedWhileDecoding) {
    Card card(bus, 0);
    card.put(PCI_BASE_ADDRESS_0, 0xe0000000);
    card.put(PCI_BASE_ADDRESS_2, 0xf0000000);
    card.enable(true);
    constexpr std::array<std::uint16_t, 3> bars{PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_2,
                                                PCI_BASE_ADDRESS_3};
    for (const std::uint16_t bar : bars) {
        const std::uint32_t before = card.config.value(bar, 4);
        card.put(bar, 0xffffffff);
        card.put(bar, before);
    }
    EXPECT_EQ(peek(bus, 0xe0000000), 0x10U);
    EXPECT_EQ(peek(bus, 0xf0000000), 0x20U);
    EXPECT_EQ(peek(bus, 0xfffff000), 0xffU);
    EXPECT_EQ(peek(bus, 0xffffffff'f0000000), 0xffU);
}

TEST_F(PciBars, DoNotStealAnAddressFromAnother) {
    Card first(bus, 1);
    Card second(bus, 2);
    first.put(PCI_BASE_ADDRESS_0, 0xe0000000);
    first.enable(true);
    second.put(PCI_BASE_ADDRESS_0, 0xe0000000);
    second.enable(true);
    EXPECT_EQ(peek(bus, 0xe0000000), 0x11U);
    EXPECT_EQ(second.bars.refusals(), 1U);
    second.enable(true);
    EXPECT_EQ(second.bars.refusals(), 1U) << "one refusal is counted once";
    second.enable(false);
    EXPECT_EQ(peek(bus, 0xe0000000), 0x11U) << "the other's BAR went with the refused one";
    second.enable(true);
    first.put(PCI_BASE_ADDRESS_0, 0xe0004000);
    second.enable(true);
    EXPECT_EQ(peek(bus, 0xe0000000), 0x12U) << "the next write finds the address free";
}

TEST_F(PciBars, OfOneFunctionMayChangePlaces) {
    Card card(bus, 0);
    card.put(PCI_BASE_ADDRESS_0, 0xe0000000);
    card.put(PCI_BASE_ADDRESS_2, 0xe0002000);
    card.enable(true);
    const std::array<std::uint32_t, 3> swapped{0xe0002000, 0, 0xe0000000};
    card.config.write(PCI_BASE_ADDRESS_0, std::as_bytes(std::span(swapped)));
    card.bars.update();
    EXPECT_EQ(peek(bus, 0xe0000000), 0x20U);
    EXPECT_EQ(peek(bus, 0xe0002000), 0x10U);
    EXPECT_EQ(card.bars.refusals(), 0U);
}

TEST_F(PciBars, AreNeverMappedOverGuestMemory) {
    Card card(bus, 0);
    card.put(PCI_BASE_ADDRESS_0, ram_end - 0x1000);
    card.enable(true);
    EXPECT_EQ(peek(bus, ram_end - 0x1000), 0xffU);
    EXPECT_EQ(card.bars.refusals(), 1U);
    card.put(PCI_BASE_ADDRESS_0, ram_end);
    EXPECT_EQ(peek(bus, ram_end), 0x10U);
}

TEST_F(PciBars, LeaveTheBusWithTheirFunction) {
    {
        Card card(bus, 0);
        card.put(PCI_BASE_ADDRESS_0, 0xe0000000);
        card.enable(true);
    }
    EXPECT_EQ(peek(bus, 0xe0000000), 0xffU);
}

}  // namespace
}  // namespace viaduct::pci
