#include "devices/virtio/pci_config_window.hpp"

#include <linux/virtio_pci.h>

namespace viaduct::virtio {
namespace {

constexpr std::uint16_t data_offset = sizeof(virtio_pci_cap);

}  // namespace

bool PciConfigWindow::touched(std::uint16_t offset, std::size_t length) const noexcept {
    const std::size_t first = std::size_t{capability_} + data_offset;
    return offset < first + 4 && offset + length > first;
}

PciConfigWindow::Target PciConfigWindow::target() const noexcept {
    const auto at = [&](std::uint16_t field) {
        return static_cast<std::uint16_t>(capability_ + field);
    };
    Target target;
    target.bar = static_cast<std::uint8_t>(config_.value(at(VIRTIO_PCI_CAP_BAR), 1));
    target.offset = config_.value(at(VIRTIO_PCI_CAP_OFFSET), 4);
    target.length = config_.value(at(VIRTIO_PCI_CAP_LENGTH), 4);
    config_.read(at(data_offset), target.bytes);
    return target;
}

void PciConfigWindow::store(const Target& target) noexcept {
    config_.put(static_cast<std::uint16_t>(capability_ + data_offset), target.bytes);
}

}  // namespace viaduct::virtio
