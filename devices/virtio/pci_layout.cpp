#include "devices/virtio/pci_layout.hpp"

#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

namespace viaduct::virtio {
namespace {

constexpr std::uint16_t vendor = 0x1af4;            // 4.1.2
constexpr std::uint16_t first_device_id = 0x1040;   // plus the virtio device id
constexpr std::uint16_t subsystem_device = 0x1100;  // 0x40 and up: no legacy driver wants it
constexpr std::uint8_t modern_revision = 1;

struct Class {
    std::uint32_t device_id;
    std::uint32_t code;
};

// The classes that guests know from other machines.
constexpr std::array classes{
    Class{VIRTIO_ID_NET, 0x020000},     Class{VIRTIO_ID_BLOCK, 0x010000},
    Class{VIRTIO_ID_CONSOLE, 0x078000}, Class{VIRTIO_ID_RNG, 0x00ff00},
    Class{VIRTIO_ID_BALLOON, 0x00ff00}, Class{VIRTIO_ID_SCSI, 0x010000},
    Class{VIRTIO_ID_9P, 0x000200},      Class{VIRTIO_ID_GPU, 0x038000},
    Class{VIRTIO_ID_INPUT, 0x098000},   Class{VIRTIO_ID_VSOCK, 0x078000},
    Class{VIRTIO_ID_CRYPTO, 0x00ff00},  Class{VIRTIO_ID_IOMMU, 0x00ff00},
    Class{VIRTIO_ID_MEM, 0x00ff00},     Class{VIRTIO_ID_SOUND, 0x040100},
    Class{VIRTIO_ID_FS, 0x018000},      Class{VIRTIO_ID_PMEM, 0x00ff00},
};
constexpr std::uint32_t unknown_class = 0xff0000;

std::uint32_t class_code(std::uint32_t device_id) noexcept {
    const auto* found = std::find_if(classes.begin(), classes.end(), [&](const Class& known) {
        return known.device_id == device_id;
    });
    return found == classes.end() ? unknown_class : found->code;
}

constexpr std::uint64_t whole_pages(std::uint64_t size) {
    return (size + PciLayout::page - 1) / PciLayout::page * PciLayout::page;
}

struct Place {
    std::uint8_t type;  // VIRTIO_PCI_CAP_*
    std::uint8_t bar;
    std::uint32_t offset;
    std::uint32_t length;
};

virtio_pci_cap describe(const Place& place, std::size_t size) {
    virtio_pci_cap capability{};
    capability.cap_len = static_cast<std::uint8_t>(size);
    capability.cfg_type = place.type;
    capability.bar = place.bar;
    capability.offset = place.offset;
    capability.length = place.length;
    return capability;
}

/// A capability without its id and next bytes, which ConfigSpace writes.
template <typename Capability>
std::span<const std::byte> body(const Capability& capability) {
    return std::as_bytes(std::span(&capability, 1)).subspan(offsetof(virtio_pci_cap, cap_len));
}

void add_place(pci::ConfigSpace& config, const Place& place) {
    const auto capability = describe(place, sizeof(virtio_pci_cap));
    config.add_capability(PCI_CAP_ID_VNDR, body(capability));
}

void add_notify(pci::ConfigSpace& config, const PciLayout& layout) {
    virtio_pci_notify_cap capability{};
    capability.cap = describe({VIRTIO_PCI_CAP_NOTIFY_CFG, notify_bar, 0, layout.notify_length},
                              sizeof capability);
    capability.notify_off_multiplier = notify_stride();
    config.add_capability(PCI_CAP_ID_VNDR, body(capability));
}

std::uint16_t add_config_window(pci::ConfigSpace& config) {
    virtio_pci_cfg_cap capability{};
    capability.cap = describe({VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0}, sizeof capability);
    virtio_pci_cfg_cap writable{};
    writable.cap.bar = 0xff;
    writable.cap.offset = 0xffffffff;
    writable.cap.length = 0xffffffff;
    std::fill(std::begin(writable.pci_cfg_data), std::end(writable.pci_cfg_data), 0xff);
    return config.add_capability(PCI_CAP_ID_VNDR, body(capability), body(writable));
}

}  // namespace

pci::Identity pci_identity(std::uint32_t device_id) noexcept {
    return {.vendor = vendor,
            .device = static_cast<std::uint16_t>(first_device_id + device_id),
            .revision = modern_revision,
            .class_code = class_code(device_id),
            .subsystem_vendor = vendor,
            .subsystem_device = subsystem_device,
            .interrupt_pin = 1};
}

std::uint32_t notify_stride() noexcept {
    static const auto stride = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));
    return stride;
}

PciLayout::PciLayout(std::uint32_t config_size, unsigned queues, const pci::Msix& table) noexcept
    : device(static_cast<std::uint32_t>(msix + whole_pages(table.size()))),
      device_size(config_size),
      notify_length(queues * notify_stride()) {
    registers.size = std::bit_ceil(device + whole_pages(config_size));
    notify.size = std::bit_ceil(std::uint64_t{std::max(notify_length, notify_stride())});
    notify.wide = true;
}

PciCapabilities add_capabilities(pci::ConfigSpace& config, const PciLayout& layout,
                                 const pci::Msix& table) {
    // The common configuration ends with queue_reset, the last register of virtio 1.2.
    constexpr std::uint32_t common_length = VIRTIO_PCI_COMMON_Q_RESET + 2;
    PciCapabilities offsets;
    offsets.msix = table.add_capability(config, register_bar, PciLayout::msix);
    add_place(config, {VIRTIO_PCI_CAP_COMMON_CFG, register_bar, PciLayout::common, common_length});
    add_notify(config, layout);
    add_place(config, {VIRTIO_PCI_CAP_ISR_CFG, register_bar, PciLayout::isr, 1});
    if (layout.device_size != 0) {
        add_place(config,
                  {VIRTIO_PCI_CAP_DEVICE_CFG, register_bar, layout.device, layout.device_size});
    }
    offsets.config_window = add_config_window(config);
    return offsets;
}

}  // namespace viaduct::virtio
