/// What a virtio-pci function looks like (virtio 1.2, 4.1.2 and 4.1.4): its PCI identity, the
/// registers' places inside the BARs, and the capabilities that tell the driver where they are.
///
///   BAR 0 (32-bit)  common configuration, ISR, MSI-X table and pending bits, device configuration;
///                   each on pages of its own
///   BAR 2 (64-bit)  notifications: one host page per queue, so that a device's own doorbell page
///                   can be mapped at a queue's notify address
#pragma once

#include <cstdint>

#include "devices/pci/config_space.hpp"
#include "devices/pci/msix.hpp"

namespace viaduct::virtio {

inline constexpr unsigned register_bar = 0;
inline constexpr unsigned notify_bar = 2;

/// Ids and class of the function for any virtio device id, known or not.
pci::Identity pci_identity(std::uint32_t device_id) noexcept;

/// Bytes between the notify addresses of two queues: the host's page size.
std::uint32_t notify_stride() noexcept;

/// Offsets and sizes in bytes.
struct PciLayout {
    static constexpr std::uint32_t page = 4096;
    static constexpr std::uint32_t common = 0;
    static constexpr std::uint32_t isr = page;
    static constexpr std::uint32_t msix = 2 * page;

    PciLayout(std::uint32_t config_size, unsigned queues, const pci::Msix& table) noexcept;

    std::uint32_t device;         // offset of the device configuration
    std::uint32_t device_size;    // 0: there is none
    std::uint32_t notify_length;  // one page per queue
    pci::BarShape registers;
    pci::BarShape notify;
};

/// Offsets of the capabilities that do something when the guest writes to them.
struct PciCapabilities {
    std::uint16_t msix = 0;
    std::uint16_t config_window = 0;  // PCI_CFG, 4.1.4.9
};

PciCapabilities add_capabilities(pci::ConfigSpace& config, const PciLayout& layout,
                                 const pci::Msix& table);

}  // namespace viaduct::virtio
