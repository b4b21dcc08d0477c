#include "devices/virtio/pci_registers.hpp"

#include <linux/virtio_pci.h>

#include <array>
#include <bit>

#include "devices/virtio/spec.hpp"

namespace viaduct::virtio {
namespace {

using File = PciRegisterFile;

std::uint32_t feature_window(std::uint64_t features, std::uint32_t select) {
    return select < 2 ? static_cast<std::uint32_t>(features >> (32 * select)) : 0;
}

PciEffect write_driver_feature(File& file, std::uint32_t value) {
    if ((file.status & status::features_ok) != 0) return PciEffect::ignored;
    if (file.driver_feature_select >= 2) {
        file.unknown_features |= value != 0;
        return PciEffect::none;
    }
    const unsigned shift = 32 * file.driver_feature_select;
    file.driver_features &= ~(std::uint64_t{0xffffffff} << shift);
    file.driver_features |= std::uint64_t{value} << shift;
    return PciEffect::none;
}

PciEffect write_queue_size(File& file, std::uint32_t value) {
    File::Queue* queue = file.configurable();
    if (queue == nullptr || !std::has_single_bit(value) || value > queue->max_size) {
        return PciEffect::ignored;
    }
    queue->setup.size = static_cast<std::uint16_t>(value);
    return PciEffect::none;
}

template <Iova QueueSetup::*area, unsigned shift>
constexpr PciRegister address_register(std::uint16_t offset) {
    return {offset, 4,
            [](const File& file) {
                const File::Queue* queue = file.selected();
                return queue == nullptr
                           ? 0
                           : static_cast<std::uint32_t>((queue->setup.*area).value >> shift);
            },
            [](File& file, std::uint32_t value) {
                File::Queue* queue = file.configurable();
                if (queue == nullptr) return PciEffect::ignored;
                std::uint64_t& address = (queue->setup.*area).value;
                address &= ~(std::uint64_t{0xffffffff} << shift);
                address |= std::uint64_t{value} << shift;
                return PciEffect::none;
            }};
}

constexpr std::array registers{
    PciRegister{VIRTIO_PCI_COMMON_DFSELECT, 4,
                [](const File& file) { return file.device_feature_select; },
                [](File& file, std::uint32_t value) {
                    file.device_feature_select = value;
                    return PciEffect::none;
                }},
    PciRegister{VIRTIO_PCI_COMMON_DF, 4,
                [](const File& file) {
                    return feature_window(file.offered_features, file.device_feature_select);
                },
                nullptr},
    PciRegister{VIRTIO_PCI_COMMON_GFSELECT, 4,
                [](const File& file) { return file.driver_feature_select; },
                [](File& file, std::uint32_t value) {
                    file.driver_feature_select = value;
                    return PciEffect::none;
                }},
    PciRegister{VIRTIO_PCI_COMMON_GF, 4,
                [](const File& file) {
                    return feature_window(file.driver_features, file.driver_feature_select);
                },
                write_driver_feature},
    PciRegister{VIRTIO_PCI_COMMON_MSIX, 2,
                [](const File& file) { return std::uint32_t{file.config_vector}; },
                [](File&, std::uint32_t) { return PciEffect::config_vector; }},
    PciRegister{VIRTIO_PCI_COMMON_NUMQ, 2,
                [](const File& file) { return static_cast<std::uint32_t>(file.queues.size()); },
                nullptr},
    PciRegister{VIRTIO_PCI_COMMON_STATUS, 1,
                [](const File& file) { return std::uint32_t{file.status}; },
                [](File&, std::uint32_t) { return PciEffect::status; }},
    PciRegister{VIRTIO_PCI_COMMON_CFGGENERATION, 1,
                [](const File& file) { return std::uint32_t{file.config_generation}; }, nullptr},
    PciRegister{VIRTIO_PCI_COMMON_Q_SELECT, 2,
                [](const File& file) { return std::uint32_t{file.queue_select}; },
                [](File& file, std::uint32_t value) {
                    file.queue_select = static_cast<std::uint16_t>(value);
                    return PciEffect::none;
                }},
    PciRegister{VIRTIO_PCI_COMMON_Q_SIZE, 2,
                [](const File& file) {
                    const File::Queue* queue = file.selected();
                    return queue == nullptr ? 0U : std::uint32_t{queue->setup.size};
                },
                write_queue_size},
    PciRegister{VIRTIO_PCI_COMMON_Q_MSIX, 2,
                [](const File& file) {
                    const File::Queue* queue = file.selected();
                    return queue == nullptr ? 0U : std::uint32_t{queue->vector};
                },
                [](File& file, std::uint32_t) {
                    return file.selected() == nullptr ? PciEffect::ignored
                                                      : PciEffect::queue_vector;
                }},
    PciRegister{VIRTIO_PCI_COMMON_Q_ENABLE, 2,
                [](const File& file) {
                    const File::Queue* queue = file.selected();
                    return queue != nullptr && queue->setup.enabled ? 1U : 0U;
                },
                [](File& file, std::uint32_t value) {
                    const File::Queue* queue = file.configurable();
                    return queue == nullptr || queue->max_size == 0 || value != 1
                               ? PciEffect::ignored
                               : PciEffect::queue_enable;
                }},
    PciRegister{VIRTIO_PCI_COMMON_Q_NOFF, 2,
                [](const File& file) {
                    return file.selected() == nullptr ? 0U : std::uint32_t{file.queue_select};
                },
                nullptr},
    address_register<&QueueSetup::descriptors, 0>(VIRTIO_PCI_COMMON_Q_DESCLO),
    address_register<&QueueSetup::descriptors, 32>(VIRTIO_PCI_COMMON_Q_DESCHI),
    address_register<&QueueSetup::driver_area, 0>(VIRTIO_PCI_COMMON_Q_AVAILLO),
    address_register<&QueueSetup::driver_area, 32>(VIRTIO_PCI_COMMON_Q_AVAILHI),
    address_register<&QueueSetup::device_area, 0>(VIRTIO_PCI_COMMON_Q_USEDLO),
    address_register<&QueueSetup::device_area, 32>(VIRTIO_PCI_COMMON_Q_USEDHI),
    PciRegister{VIRTIO_PCI_COMMON_Q_NDATA, 2, [](const File&) { return 0U; }, nullptr},
    PciRegister{VIRTIO_PCI_COMMON_Q_RESET, 2, [](const File&) { return 0U; }, nullptr},
};

bool area_fits(Iova area, std::uint64_t size, std::uint64_t alignment) {
    return area.value % alignment == 0 && area.value + size > area.value;
}

}  // namespace

PciRegisterFile::PciRegisterFile(const Device& device, unsigned queue_count)
    : offered_features(device.offered_features()), config_vector(no_vector) {
    for (unsigned i = 0; i < queue_count; ++i) {
        queues.push_back({{}, device.max_queue_size(i), no_vector});
    }
    reset();
}

void PciRegisterFile::reset() noexcept {
    driver_features = 0;
    unknown_features = false;
    device_feature_select = 0;
    driver_feature_select = 0;
    config_vector = no_vector;
    status = 0;
    ++config_generation;
    queue_select = 0;
    for (Queue& queue : queues) {
        queue.setup = {};
        queue.setup.size = queue.max_size;
        queue.vector = no_vector;
    }
}

PciRegisterFile::Queue* PciRegisterFile::selected() noexcept {
    return queue_select < queues.size() ? &queues[queue_select] : nullptr;
}

const PciRegisterFile::Queue* PciRegisterFile::selected() const noexcept {
    return queue_select < queues.size() ? &queues[queue_select] : nullptr;
}

PciRegisterFile::Queue* PciRegisterFile::configurable() noexcept {
    Queue* queue = selected();
    const bool open =
        queue != nullptr && !queue->setup.enabled && (status & status::driver_ok) == 0;
    return open ? queue : nullptr;
}

std::vector<QueueSetup> PciRegisterFile::setups() const {
    std::vector<QueueSetup> setups;
    setups.reserve(queues.size());
    for (const Queue& queue : queues) setups.push_back(queue.setup);
    return setups;
}

std::span<const PciRegister> pci_registers() noexcept {
    return registers;
}

bool makes_sense(const QueueSetup& queue, bool packed) noexcept {
    const std::uint64_t entries = queue.size;
    if (packed) {  // two event suppression structures instead of the avail and used rings
        return area_fits(queue.descriptors, 16 * entries, 16) &&
               area_fits(queue.driver_area, 4, 4) && area_fits(queue.device_area, 4, 4);
    }
    return area_fits(queue.descriptors, 16 * entries, 16) &&
           area_fits(queue.driver_area, 6 + 2 * entries, 2) &&
           area_fits(queue.device_area, 6 + 8 * entries, 4);
}

}  // namespace viaduct::virtio
