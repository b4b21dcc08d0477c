/// The registers of the common configuration structure (virtio 1.2, 4.1.4.3) as data: offset,
/// width, what a read yields and what a write does to the register file. Writes that concern more
/// than the register file say so by their effect, and the common configuration carries it out.
///
/// Defined results for what makes no sense: registers of a queue that does not exist read 0 and
/// ignore writes; queue_size keeps its value when the new one is 0, not a power of two or over the
/// maximum; a queue's registers ignore writes once it is enabled or the device runs (vectors do
/// not); driver_feature ignores writes from FEATURES_OK on, and remembers until the reset that a
/// feature past bit 63 was asked for. queue_notify_data and queue_reset read 0.
///
/// No locking of its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/virtio/device.hpp"

namespace viaduct::virtio {

struct PciRegisterFile {
    struct Queue {
        QueueSetup setup;
        std::uint16_t max_size = 0;
        std::uint16_t vector = 0xffff;
    };

    PciRegisterFile(const Device& device, unsigned queue_count);

    /// As after a device reset; the generation counts on.
    void reset() noexcept;

    [[nodiscard]] Queue* selected() noexcept;
    [[nodiscard]] const Queue* selected() const noexcept;
    /// The selected queue while the driver may still set it up.
    [[nodiscard]] Queue* configurable() noexcept;
    [[nodiscard]] std::vector<QueueSetup> setups() const;

    std::uint64_t offered_features;
    std::uint64_t driver_features = 0;
    bool unknown_features = false;  // past bit 63
    std::uint32_t device_feature_select = 0;
    std::uint32_t driver_feature_select = 0;
    std::uint16_t config_vector;
    std::uint8_t status = 0;
    std::uint8_t config_generation = 0;
    std::uint16_t queue_select = 0;
    std::vector<Queue> queues;
};

enum class PciEffect { none, ignored, config_vector, status, queue_vector, queue_enable };

struct PciRegister {
    std::uint16_t offset;
    std::uint8_t width;
    std::uint32_t (*read)(const PciRegisterFile& file);
    PciEffect (*write)(PciRegisterFile& file, std::uint32_t value);  // null: read-only
};

/// In ascending order of offset.
std::span<const PciRegister> pci_registers() noexcept;

/// Whether a device can work with such a queue: aligned (2.7, 2.8.10) and inside the address space.
bool makes_sense(const QueueSetup& queue, bool packed) noexcept;

}  // namespace viaduct::virtio
