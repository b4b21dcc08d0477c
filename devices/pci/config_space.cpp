#include "devices/pci/config_space.hpp"

#include <linux/pci_regs.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.hpp"

namespace viaduct::pci {
namespace {

void store(std::vector<std::byte>& bytes, std::size_t offset, unsigned width, std::uint32_t value) {
    for (unsigned i = 0; i < width; ++i) {
        bytes.at(offset + i) = static_cast<std::byte>(value >> (8 * i));
    }
}

constexpr std::uint16_t bar_offset(unsigned index) {
    return static_cast<std::uint16_t>(PCI_BASE_ADDRESS_0 + 4 * index);
}

// I/O space, parity and SERR# have nothing behind them here and read 0.
constexpr std::uint32_t command_writable =
    PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;

}  // namespace

ConfigSpace::ConfigSpace(const Identity& identity, std::size_t size)
    : values_(size), declared_(size), writable_(size) {
    const std::array header{
        Register{PCI_VENDOR_ID, 2, identity.vendor, 0},
        Register{PCI_DEVICE_ID, 2, identity.device, 0},
        Register{PCI_COMMAND, 2, 0, command_writable},
        Register{PCI_STATUS, 2, 0, 0},
        Register{PCI_CLASS_REVISION, 4, identity.class_code << 8 | identity.revision, 0},
        Register{PCI_CACHE_LINE_SIZE, 1, 0, 0xff},
        Register{PCI_SUBSYSTEM_VENDOR_ID, 2, identity.subsystem_vendor, 0},
        Register{PCI_SUBSYSTEM_ID, 2, identity.subsystem_device, 0},
        Register{PCI_INTERRUPT_LINE, 1, 0, 0xff},
        Register{PCI_INTERRUPT_PIN, 1, identity.interrupt_pin, 0},
    };
    for (const Register& declared : header) declare(declared);
}

void ConfigSpace::declare(const Register& declared) {
    if (declared.offset + declared.width > values_.size()) {
        throw Error("PCI register {:#x} does not fit a configuration space of {} bytes",
                    declared.offset, values_.size());
    }
    store(values_, declared.offset, declared.width, declared.value);
    store(declared_, declared.offset, declared.width, declared.value);
    store(writable_, declared.offset, declared.width, declared.writable);
}

void ConfigSpace::declare_bar(unsigned index, const BarShape& shape) {
    const unsigned registers = shape.wide ? 2 : 1;
    const std::uint64_t limit = shape.wide ? std::uint64_t{1} << 62 : std::uint64_t{1} << 31;
    if (index + registers > bar_count || !std::has_single_bit(shape.size) || shape.size < 16 ||
        shape.size > limit) {
        throw Error("BAR {} cannot have {} bytes: a power of two from 16 to {} is needed", index,
                    shape.size, limit);
    }
    const std::uint64_t mask = ~(shape.size - 1);
    std::uint32_t type = PCI_BASE_ADDRESS_SPACE_MEMORY;
    if (shape.wide) type |= PCI_BASE_ADDRESS_MEM_TYPE_64;
    if (shape.prefetchable) type |= PCI_BASE_ADDRESS_MEM_PREFETCH;
    declare({bar_offset(index), 4, type, static_cast<std::uint32_t>(mask)});
    if (shape.wide) {
        declare({bar_offset(index + 1), 4, 0, static_cast<std::uint32_t>(mask >> 32)});
    }
}

std::uint16_t ConfigSpace::add_capability(std::uint8_t id, std::span<const std::byte> body,
                                          std::span<const std::byte> writable) {
    const std::uint16_t at = free_;
    if (at + 2 + body.size() > conventional_size) {
        throw Error("PCI capability {:#x} of {} bytes does not fit: {} bytes are left", id,
                    body.size() + 2, conventional_size - at);
    }
    declare({PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0});
    declare({last_next_pointer_, 1, at, 0});
    declare({at, 1, id, 0});
    for (std::size_t i = 0; i < body.size(); ++i) {
        const auto mask = i < writable.size() ? writable[i] : std::byte{0};
        declare({static_cast<std::uint16_t>(at + 2 + i), 1, std::to_integer<std::uint32_t>(body[i]),
                 std::to_integer<std::uint32_t>(mask)});
    }
    last_next_pointer_ = static_cast<std::uint16_t>(at + PCI_CAP_LIST_NEXT);
    free_ = static_cast<std::uint16_t>((at + 2 + body.size() + 3) & ~std::size_t{3});
    return at;
}

void ConfigSpace::read(std::uint16_t offset, std::span<std::byte> bytes) const noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    if (offset >= values_.size()) return;
    const std::size_t length = std::min(bytes.size(), values_.size() - offset);
    std::copy_n(values_.begin() + offset, length, bytes.begin());
}

void ConfigSpace::write(std::uint16_t offset, std::span<const std::byte> bytes) noexcept {
    if (offset >= values_.size()) return;
    const std::size_t length = std::min(bytes.size(), values_.size() - offset);
    for (std::size_t i = 0; i < length; ++i) {
        const std::byte mask = writable_[offset + i];
        std::byte& value = values_[offset + i];
        value = (value & ~mask) | (bytes[i] & mask);
    }
}

std::uint32_t ConfigSpace::value(std::uint16_t offset, std::uint8_t width) const noexcept {
    std::uint32_t result = 0;
    for (unsigned i = 0; i < width && offset + i < values_.size(); ++i) {
        result |= std::to_integer<std::uint32_t>(values_[offset + i]) << (8 * i);
    }
    return result;
}

void ConfigSpace::put(std::uint16_t offset, std::span<const std::byte> bytes) noexcept {
    if (offset >= values_.size()) return;
    std::copy_n(bytes.begin(), std::min(bytes.size(), values_.size() - offset),
                values_.begin() + offset);
}

bool ConfigSpace::memory_enabled() const noexcept {
    return (value(PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) != 0;
}

bool ConfigSpace::intx_disabled() const noexcept {
    return (value(PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE) != 0;
}

std::uint64_t ConfigSpace::bar_address(unsigned index) const noexcept {
    const std::uint32_t low = value(bar_offset(index), 4);
    std::uint64_t address = low & PCI_BASE_ADDRESS_MEM_MASK;
    if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64) {
        address |= std::uint64_t{value(bar_offset(index + 1), 4)} << 32;
    }
    return address;
}

}  // namespace viaduct::pci
