#include <linux/pci_regs.h>

#include <memory>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "devices/pci/config_space.hpp"
#include "devices/pci/host_bus.hpp"

namespace viaduct::pci {
namespace {

class PlainFunction final : public Function {
public:
    void read_config(std::uint16_t offset, std::span<std::byte> bytes) noexcept override {
        config.read(offset, bytes);
    }
    void write_config(std::uint16_t offset, std::span<const std::byte> bytes) noexcept override {
        config.write(offset, bytes);
    }
    void reset() noexcept override { ++resets; }

    ConfigSpace config{Identity{.vendor = 0x1234, .device = 0x5678}};
    unsigned resets = 0;
};

std::uint32_t get(const HostBus& bus, Bdf bdf, std::uint16_t offset) {
    std::uint32_t value = 0;
    bus.config_read(bdf, offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
}

std::uint32_t ecam(HostBus& bus, std::uint64_t offset, std::size_t width = 4) {
    std::uint32_t value = 0;
    bus.read(offset, std::as_writable_bytes(std::span(&value, 1)).first(width));
    return value;
}

TEST(PciHostBus, HasAHostBridgeInSlotZero) {
    const HostBus bus;
    EXPECT_EQ(get(bus, Bdf::of_slot(0), 0), 0x00081b36U);
    EXPECT_EQ(get(bus, Bdf::of_slot(0), PCI_CLASS_REVISION) >> 8, 0x060000U);
}

TEST(PciHostBus, ReadsAllOnesWhereNoFunctionIs) {
    HostBus bus;
    bus.add(4, std::make_shared<PlainFunction>());
    EXPECT_EQ(get(bus, Bdf::of_slot(5), 0), 0xffffffffU);
    EXPECT_EQ(get(bus, Bdf{4 << 3 | 1}, 0), 0xffffffffU);
    EXPECT_EQ(get(bus, Bdf{1 << 8 | 4 << 3}, 0), 0xffffffffU);
    const std::uint32_t value = 0;
    bus.config_write(Bdf::of_slot(5), 0, std::as_bytes(std::span(&value, 1)));
}

TEST(PciHostBus, ShowsTheSameInTheEcamWindow) {
    HostBus bus;
    bus.add(4, std::make_shared<PlainFunction>());
    EXPECT_EQ(ecam(bus, 4 << 15), 0x56781234U);
    EXPECT_EQ(ecam(bus, (4 << 15) + 3, 1), 0x56U);
    EXPECT_EQ(ecam(bus, (4 << 15) | 1 << 12), 0xffffffffU);
    const std::uint16_t command = PCI_COMMAND_MEMORY;
    bus.write((4 << 15) + PCI_COMMAND, std::as_bytes(std::span(&command, 1)));
    EXPECT_EQ(get(bus, Bdf::of_slot(4), PCI_COMMAND) & 0xffffU, PCI_COMMAND_MEMORY + 0U);
    EXPECT_EQ(ecam(bus, HostBus::ecam_size - 2), 0xffffffffU);
}

TEST(PciHostBus, RefusesASlotThatIsTakenOrDoesNotExist) {
    HostBus bus;
    bus.add(31, std::make_shared<PlainFunction>());
    EXPECT_THROW(bus.add(31, std::make_shared<PlainFunction>()), Error);
    EXPECT_THROW(bus.add(32, std::make_shared<PlainFunction>()), Error);
    EXPECT_THROW(bus.add(0, std::make_shared<PlainFunction>()), Error);
    bus.remove(31);
    bus.remove(77);
    EXPECT_EQ(get(bus, Bdf::of_slot(31), 0), 0xffffffffU);
    bus.add(31, std::make_shared<PlainFunction>());
}

TEST(PciHostBus, ResetsEveryFunction) {
    HostBus bus;
    auto function = std::make_shared<PlainFunction>();
    bus.add(2, function);
    const std::uint16_t command = PCI_COMMAND_MASTER;
    bus.config_write(Bdf::of_slot(0), PCI_COMMAND, std::as_bytes(std::span(&command, 1)));
    bus.reset();
    EXPECT_EQ(function->resets, 1U);
    EXPECT_EQ(get(bus, Bdf::of_slot(0), PCI_COMMAND) & 0xffffU, 0U);
}

}  // namespace
}  // namespace viaduct::pci
