#include <linux/pci_regs.h>

#include <array>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "devices/pci/config_space.hpp"

namespace viaduct::pci {
namespace {

constexpr Identity identity{.vendor = 0x1af4,
                            .device = 0x1042,
                            .revision = 1,
                            .class_code = 0x010000,
                            .subsystem_vendor = 0x1af4,
                            .subsystem_device = 0x1100,
                            .interrupt_pin = 1};

std::uint64_t get(const ConfigSpace& config, unsigned offset, std::size_t width) {
    std::uint64_t value = 0;
    config.read(static_cast<std::uint16_t>(offset),
                std::as_writable_bytes(std::span(&value, 1)).first(width));
    return value;
}

void put(ConfigSpace& config, unsigned offset, std::size_t width, std::uint64_t value) {
    config.write(static_cast<std::uint16_t>(offset),
                 std::as_bytes(std::span(&value, 1)).first(width));
}

TEST(PciConfigSpace, ShowsItsIdentityInEveryWidth) {
    const ConfigSpace config(identity);
    EXPECT_EQ(get(config, 0, 4), 0x10421af4U);
    EXPECT_EQ(get(config, 2, 2), 0x1042U);
    EXPECT_EQ(get(config, 3, 1), 0x10U);
    EXPECT_EQ(get(config, PCI_CLASS_REVISION, 4), 0x01000001U);
    EXPECT_EQ(get(config, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4U);
    EXPECT_EQ(get(config, PCI_INTERRUPT_PIN, 1), 1U);
    EXPECT_EQ(get(config, PCI_HEADER_TYPE, 1), 0U);
}

TEST(PciConfigSpace, KeepsOnlyWritableBits) {
    ConfigSpace config(identity);
    put(config, 0, 4, 0);
    EXPECT_EQ(get(config, 0, 4), 0x10421af4U);
    put(config, PCI_COMMAND, 4, 0xffffffff);
    EXPECT_EQ(get(config, PCI_COMMAND, 4),
              PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    put(config, PCI_INTERRUPT_LINE, 2, 0xffff);
    EXPECT_EQ(get(config, PCI_INTERRUPT_LINE, 2), 0x1ffU);
}

TEST(PciConfigSpace, WritesOneByteOfARegister) {
    ConfigSpace config(identity);
    put(config, PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
    put(config, PCI_COMMAND + 1, 1, PCI_COMMAND_INTX_DISABLE >> 8);
    EXPECT_TRUE(config.memory_enabled());
    EXPECT_TRUE(config.intx_disabled());
    put(config, PCI_COMMAND, 1, 0);
    EXPECT_FALSE(config.memory_enabled());
    EXPECT_TRUE(config.intx_disabled());
}

TEST(PciConfigSpace, TellsTheSizeOfA32BitBar) {
    ConfigSpace config(identity);
    config.declare_bar(0, {.size = 0x8000, .prefetchable = true});
    put(config, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
    EXPECT_EQ(get(config, PCI_BASE_ADDRESS_0, 4), 0xffff8008U);
    put(config, PCI_BASE_ADDRESS_0, 4, 0xe0001234);
    EXPECT_EQ(config.bar_address(0), 0xe0000000U);
    EXPECT_EQ(get(config, PCI_BASE_ADDRESS_1, 4), 0U);
}

TEST(PciConfigSpace, TellsTheSizeOfA64BitBar) {
    ConfigSpace config(identity);
    config.declare_bar(2, {.size = std::uint64_t{1} << 33, .wide = true});
    put(config, PCI_BASE_ADDRESS_2, 8, ~std::uint64_t{0});
    EXPECT_EQ(get(config, PCI_BASE_ADDRESS_2, 8), 0xfffffffe'00000004U);
    put(config, PCI_BASE_ADDRESS_3, 4, 0x12);
    put(config, PCI_BASE_ADDRESS_2, 4, 0);
    EXPECT_EQ(config.bar_address(2), 0x12'00000000U);
}

TEST(PciConfigSpace, RefusesABarThatCannotBe) {
    ConfigSpace config(identity);
    EXPECT_THROW(config.declare_bar(0, {.size = 0x3000}), Error);
    EXPECT_THROW(config.declare_bar(0, {.size = 8}), Error);
    EXPECT_THROW(config.declare_bar(5, {.size = 0x1000, .wide = true}), Error);
    EXPECT_THROW(config.declare_bar(6, {.size = 0x1000}), Error);
    EXPECT_THROW(config.declare_bar(0, {.size = std::uint64_t{1} << 32}), Error);
}

TEST(PciConfigSpace, ChainsItsCapabilities) {
    ConfigSpace config(identity);
    EXPECT_EQ(get(config, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, 0U);
    const std::array first{std::byte{1}, std::byte{2}, std::byte{3}};
    const std::array second{std::byte{0x10}, std::byte{0x20}};
    const std::array writable{std::byte{0x0f}};
    const auto a = config.add_capability(0x09, first);
    const auto b = config.add_capability(0x11, second, writable);
    EXPECT_EQ(get(config, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, PCI_STATUS_CAP_LIST);
    EXPECT_EQ(get(config, PCI_CAPABILITY_LIST, 1), a);
    EXPECT_EQ(get(config, a, 4), 0x02010009U | unsigned{b} << 8U);
    EXPECT_EQ(b % 4, 0);
    EXPECT_EQ(get(config, b, 4), 0x20100011U);
    put(config, b, 4, 0xffffffff);
    EXPECT_EQ(get(config, b, 4), 0x201f0011U);
    config.reset();
    EXPECT_EQ(get(config, b, 4), 0x20100011U);
}

TEST(PciConfigSpace, RefusesMoreCapabilitiesThanFit) {
    ConfigSpace config(identity);
    const std::array<std::byte, 62> body{};
    for (int i = 0; i < 3; ++i) config.add_capability(0x09, body);
    EXPECT_THROW(config.add_capability(0x09, std::span(body).first(3)), Error);
}

TEST(PciConfigSpace, ReadsAllOnesPastItsEnd) {
    ConfigSpace config(identity);
    EXPECT_EQ(get(config, 0xfc, 8), 0xffffffff'00000000U);
    EXPECT_EQ(get(config, 0x100, 4), 0xffffffffU);
    EXPECT_EQ(get(config, 0xffff, 4), 0xffffffffU);
    ConfigSpace extended(identity, ConfigSpace::extended_size);
    EXPECT_EQ(get(extended, 0x100, 4), 0U);
    EXPECT_EQ(get(extended, 0xffc, 8), 0xffffffff'00000000U);
}

TEST(PciConfigSpace, SurvivesEveryOffsetAndWidth) {
    ConfigSpace config(identity);
    config.declare_bar(0, {.size = 0x1000});
    config.declare_bar(4, {.size = 0x1000, .wide = true});
    for (unsigned offset = 0; offset <= 0xffff; offset += offset < 0x1100 ? 1 : 0x111) {
        for (const std::size_t width : {1U, 2U, 3U, 4U, 8U}) {
            put(config, offset, width, 0xa5a5a5a5'a5a5a5a5);
            (void)get(config, offset, width);
        }
    }
    EXPECT_EQ(get(config, 0, 4), 0x10421af4U);
}

}  // namespace
}  // namespace viaduct::pci
