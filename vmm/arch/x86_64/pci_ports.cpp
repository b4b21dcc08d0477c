#include "vmm/arch/x86_64/pci_ports.hpp"

#include <algorithm>
#include <cstring>

namespace viaduct::x86 {
namespace {

constexpr std::uint64_t reset_offset = 1;  // port 0xcf9
constexpr std::uint64_t data_offset = 4;
constexpr std::uint32_t enable_bit = 1U << 31;

pci::Bdf bdf_of(std::uint32_t address) {
    return {static_cast<std::uint16_t>(address >> 8 & 0xffff)};
}

std::uint16_t register_of(std::uint32_t address, std::uint64_t offset) {
    return static_cast<std::uint16_t>((address & 0xfc) + (offset - data_offset));
}

}  // namespace

std::uint32_t PciPorts::address() {
    const std::lock_guard lock(mutex_);
    return address_;
}

void PciPorts::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    const std::uint32_t now = address();
    if (offset >= data_offset) {
        if ((now & enable_bit) != 0) bus_.config_read(bdf_of(now), register_of(now, offset), bytes);
    } else if (offset == 0 && bytes.size() == sizeof now) {
        std::memcpy(bytes.data(), &now, sizeof now);
    } else if (offset == reset_offset && bytes.size() == 1) {
        reset_control_.read(0, bytes);
    }
}

void PciPorts::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    if (offset >= data_offset) {
        const std::uint32_t now = address();
        if ((now & enable_bit) != 0) {
            bus_.config_write(bdf_of(now), register_of(now, offset), bytes);
        }
    } else if (offset == 0 && bytes.size() == sizeof address_) {
        const std::lock_guard lock(mutex_);
        std::memcpy(&address_, bytes.data(), sizeof address_);
    } else if (offset == reset_offset && bytes.size() == 1) {
        reset_control_.write(0, bytes);
    }
}

}  // namespace viaduct::x86
