/// The PCI_CFG capability (virtio 1.2, 4.1.4.9): a guest that cannot reach the BARs names a BAR, an
/// offset and a length of 1, 2 or 4 bytes in the capability, and an access to the capability's last
/// four bytes is carried out there. Any other length, BAR or offset does nothing.
///
/// No locking of its own for the registers; an access to a BAR may wait for the device and is
/// therefore made from a copy, without the lock of the configuration space.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "devices/bus.hpp"
#include "devices/pci/config_space.hpp"

namespace viaduct::virtio {

class PciConfigWindow {
public:
    /// An access that the guest asked for.
    struct Target {
        std::uint8_t bar = 0;
        std::uint32_t offset = 0;
        std::uint32_t length = 0;
        std::array<std::byte, 4> bytes{};

        [[nodiscard]] bool valid() const noexcept {
            return length == 1 || length == 2 || length == 4;
        }
        [[nodiscard]] std::span<std::byte> accessed() noexcept {
            return std::span(bytes).first(length);
        }
    };

    PciConfigWindow(pci::ConfigSpace& config, std::uint16_t capability) noexcept
        : config_(config), capability_(capability) {}

    /// Whether an access to the configuration space touches the window's four bytes.
    [[nodiscard]] bool touched(std::uint16_t offset, std::size_t length) const noexcept;
    [[nodiscard]] Target target() const noexcept;
    /// What a read of the target gave: the guest finds it in the window.
    void store(const Target& target) noexcept;

private:
    pci::ConfigSpace& config_;
    std::uint16_t capability_;
};

}  // namespace viaduct::virtio
