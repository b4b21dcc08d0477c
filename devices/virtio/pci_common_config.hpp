/// The common configuration structure of a virtio-pci function (virtio 1.2, 4.1.4.3): its registers
/// (pci_registers.hpp) on a bus, and the protocol between driver and device behind them
/// (2.1, 3.1.1).
///
/// Reads take any offset and width; bytes that belong to no register read 0. A write reaches every
/// register that it covers wholly; the rest of it is ignored. Writes that make no sense are ignored
/// and counted. device_status: 0 is the reset, complete when the write returns; otherwise a write
/// adds bits and never takes any away; FEATURES_OK stays clear when the features are refused;
/// DRIVER_OK before FEATURES_OK is ignored. Enabling a queue whose addresses make no sense, or a
/// device that cannot start, sets NEEDS_RESET and sends a configuration change notification.
///
/// Locks. `device_mutex` (the transport's) makes writes and calls of the device one at a time, and
/// is held while the device takes its time. `mutex_` guards the registers and is held for a few
/// instructions only: reads, snapshot() and the event loop's config_changed() never wait for a busy
/// device. Order: device_mutex, then the locks of PciInterrupts and PciNotify; mutex_ by itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/parking.hpp"
#include "devices/bus.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/pci_interrupts.hpp"
#include "devices/virtio/pci_notify.hpp"
#include "devices/virtio/pci_registers.hpp"

namespace viaduct::virtio {

/// What a transport can tell about itself at any time, even while its device is busy.
struct TransportSnapshot {
    struct Queue {
        QueueSetup setup;
        std::uint16_t vector = 0;  // 0xffff: none
    };
    std::uint8_t status = 0;
    std::uint64_t negotiated_features = 0;  // 0 before FEATURES_OK
    std::uint8_t config_generation = 0;
    bool msix_enabled = false;
    std::uint64_t ignored_writes = 0;
    std::vector<Queue> queues;
};

class PciCommonConfig final : public devices::BusDevice {
public:
    PciCommonConfig(Device& device, ParkingMutex& device_mutex, PciInterrupts& interrupts,
                    PciNotify& notify, unsigned queues, std::string name);

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    /// As if the driver had written 0 to device_status.
    void reset() noexcept;
    /// The device signalled its config_call. Waits for nobody.
    void config_changed() noexcept;

    [[nodiscard]] TransportSnapshot snapshot() const;

private:
    // With device_mutex_ held.
    void carry_out(PciEffect effect, std::uint32_t value) noexcept;
    void write_status(std::uint8_t value) noexcept;
    void reset_device() noexcept;
    [[nodiscard]] bool accept_features() noexcept;
    void start_device() noexcept;
    void enable_queue() noexcept;
    void write_config_vector(std::uint16_t value) noexcept;
    void write_queue_vector(std::uint16_t value) noexcept;
    void demand_reset(const std::string& reason) noexcept;

    Device& device_;
    ParkingMutex& device_mutex_;
    PciInterrupts& interrupts_;
    PciNotify& notify_;
    const std::string name_;

    mutable std::mutex mutex_;
    // Guarded by mutex_; all but the status's NEEDS_RESET and the generation are written with
    // device_mutex_ held too.
    PciRegisterFile registers_;
    bool change_untold_ = false;  // the configuration changed before DRIVER_OK; guarded by mutex_

    std::atomic<std::uint64_t> ignored_writes_ = 0;
    bool reset_demanded_ = false;  // logged once; guarded by device_mutex_
};

}  // namespace viaduct::virtio
