// PCI configuration mechanism #1: address port 0xcf8, data port 0xcfc, and the reset register that
// lies inside the first.
#include "vmm/arch/x86_64/pci_ports.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include <gmock/gmock.h>

namespace viaduct::x86 {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t address_port = 0;
constexpr std::uint64_t reset_port = 1;
constexpr std::uint64_t data_port = 4;
constexpr std::uint32_t enable = 0x8000'0000;

/// 256 bytes, byte n holding n; notes what is written.
class NumberedFunction final : public pci::Function {
public:
    void read_config(std::uint16_t offset, std::span<std::byte> bytes) noexcept override {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = static_cast<std::byte>(offset + i);
        }
    }
    void write_config(std::uint16_t offset, std::span<const std::byte> bytes) noexcept override {
        writes.emplace_back(offset, bytes.size());
    }
    void reset() noexcept override {}

    std::vector<std::pair<std::uint16_t, std::size_t>> writes;
};

class NotedRegister final : public devices::BusDevice {
public:
    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override {
        EXPECT_EQ(offset, 0U);
        bytes[0] = std::byte{0x5a};
    }
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override {
        EXPECT_EQ(offset, 0U);
        written.push_back(std::to_integer<int>(bytes[0]));
    }

    std::vector<int> written;
};

class PciPortsTest : public testing::Test {
protected:
    PciPortsTest() { bus_.add(3, function_); }

    std::uint32_t read(std::uint64_t offset, std::size_t width) {
        std::uint32_t value = 0;
        ports_.read(offset, std::as_writable_bytes(std::span(&value, 1)).first(width));
        return value;
    }
    void write(std::uint64_t offset, std::size_t width, std::uint32_t value) {
        ports_.write(offset, std::as_bytes(std::span(&value, 1)).first(width));
    }
    void select(unsigned slot, std::uint32_t offset, std::uint32_t flags = enable) {
        write(address_port, 4, flags | slot << 11 | offset);
    }

    pci::HostBus bus_;
    std::shared_ptr<NumberedFunction> function_ = std::make_shared<NumberedFunction>();
    NotedRegister reset_;
    PciPorts ports_{bus_, reset_};
};

TEST_F(PciPortsTest, TheAddressReadsBackAsWritten) {
    write(address_port, 4, 0x8000'1834);
    EXPECT_EQ(read(address_port, 4), 0x8000'1834U);
}

TEST_F(PciPortsTest, DataIsTheAddressedRegisterInEveryWidth) {
    select(3, 0x10);
    EXPECT_EQ(read(data_port, 4), 0x13121110U);
    EXPECT_EQ(read(data_port, 2), 0x1110U);
    EXPECT_EQ(read(data_port + 2, 2), 0x1312U);
    EXPECT_EQ(read(data_port + 3, 1), 0x13U);
}

TEST_F(PciPortsTest, TheTwoLowestBitsOfTheAddressDoNotCount) {
    select(3, 0x13);
    EXPECT_EQ(read(data_port, 4), 0x13121110U);
}

TEST_F(PciPortsTest, WritesReachTheFunctionByteExact) {
    select(3, 0x40);
    write(data_port, 4, 1);
    write(data_port + 1, 1, 1);
    write(data_port + 2, 2, 1);
    EXPECT_THAT(function_->writes,
                ElementsAre(std::pair(0x40, 4), std::pair(0x41, 1), std::pair(0x42, 2)));
}

TEST_F(PciPortsTest, WithoutTheEnableBitThereIsNothing) {
    select(3, 0x10, 0);
    EXPECT_EQ(read(data_port, 4), 0xffffffffU);
    write(data_port, 4, 1);
    EXPECT_THAT(function_->writes, IsEmpty());
}

TEST_F(PciPortsTest, WhereNoFunctionIsReadsAreAllOnes) {
    select(4, 0);
    EXPECT_EQ(read(data_port, 4), 0xffffffffU);
    select(3, 0, enable | 1U << 16);  // bus 1
    EXPECT_EQ(read(data_port, 4), 0xffffffffU);
    select(3, 0, enable | 1U << 8);  // function 1
    EXPECT_EQ(read(data_port, 4), 0xffffffffU);
}

TEST_F(PciPortsTest, OnlyADoublewordIsTheAddress) {
    select(3, 0x10);
    write(address_port, 1, 0);
    write(address_port, 2, 0);
    write(address_port + 2, 2, 0);
    EXPECT_EQ(read(data_port, 4), 0x13121110U);
    EXPECT_EQ(read(address_port, 2), 0xffffU);
    EXPECT_EQ(read(address_port, 1), 0xffU);
}

TEST_F(PciPortsTest, AByteAt0xcf9IsTheResetRegister) {
    write(reset_port, 1, 6);
    EXPECT_THAT(reset_.written, ElementsAre(6));
    EXPECT_EQ(read(reset_port, 1), 0x5aU);
    EXPECT_EQ(read(address_port, 4), 0U);
}

TEST_F(PciPortsTest, AWordAt0xcf9IsNothing) {
    write(reset_port, 2, 6);
    EXPECT_THAT(reset_.written, IsEmpty());
    EXPECT_EQ(read(reset_port, 2), 0xffffU);
}

TEST_F(PciPortsTest, SurvivesEveryOffsetAndWidth) {
    select(3, 0xfc);
    for (std::uint64_t offset = 0; offset < PciPorts::size; ++offset) {
        for (const std::size_t width : {1U, 2U, 4U}) {
            if (offset + width > PciPorts::size || offset == reset_port) continue;
            (void)read(offset, width);
            write(offset, width, 0xffff'ffff);
        }
    }
}

}  // namespace
}  // namespace viaduct::x86
