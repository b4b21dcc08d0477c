/// virtio over PCI (virtio 1.2, 4.1), modern only: makes a PCI function of any virtio::Device. It
/// knows nothing of what stands behind the device.
///
/// What is where is pci_layout.hpp's; the registers and the device's life are PciCommonConfig's;
/// interrupts PciInterrupts'; notifications PciNotify's. Device configuration (4.1.4.6) is here: it
/// is never cached, accesses go to the device at their offset with their length, the part of one
/// that lies past the end reads 0 and is not written.
///
/// Threads and locks, in their order:
///   config_mutex_   the configuration space and the BARs       vCPUs; held while a mode switch or
///                                                              a doorbell is settled
///   device_mutex_   one call of the device at a time           vCPUs; held while the device takes
///                                                              its time, up to 30 s
///   PciInterrupts   which reader the call eventfds have        vCPUs; held across watch/unwatch,
///                                                              which wait for the event loop
///   the small ones  registers, ISR, MSI-X, doorbells           anybody; never held across a wait
/// The first three park (base/parking.hpp): a vCPU waiting for them counts as paused, and a paused
/// vCPU may own them. So the event loop and the operator's threads take only the small ones, or a
/// callback and an unwatch, or a paused vCPU and a query, would wait for each other for ever.
/// config_mutex_ and device_mutex_ are never held together.
///
/// Of the device, needs_reset() and the eventfds are also used from the event loop's thread, beside
/// a call that is under way; needs_reset() must not wait.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/event_loop.hpp"
#include "base/parking.hpp"
#include "devices/bus.hpp"
#include "devices/doorbells.hpp"
#include "devices/interrupts.hpp"
#include "devices/pci/bars.hpp"
#include "devices/pci/config_space.hpp"
#include "devices/pci/function.hpp"
#include "devices/pci/msix.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/pci_common_config.hpp"
#include "devices/virtio/pci_config_window.hpp"
#include "devices/virtio/pci_interrupts.hpp"
#include "devices/virtio/pci_layout.hpp"
#include "devices/virtio/pci_notify.hpp"

namespace viaduct::virtio {

/// What the machine lends to all its transports. All of it outlives them.
struct PciPlatform {
    devices::Bus& memory;
    pci::MayMap may_map;
    devices::MsiRouter& msi;
    devices::Doorbells& doorbells;
    /// Reports configuration changes, and interrupts in INTx mode. Nothing on its thread may wait
    /// for a vCPU or access this function.
    EventLoop& loop;
};

class PciTransport final : public pci::Function {
public:
    /// `device` and `line` (this function's own) outlive the transport. `name` is for messages.
    PciTransport(Device& device, const PciPlatform& platform, devices::InterruptLine& line,
                 pci::Bdf bdf, const std::string& name);
    PciTransport(const PciTransport&) = delete;
    PciTransport& operator=(const PciTransport&) = delete;
    /// Takes everything off the buses, the event loop and the interrupt controller; the device is
    /// left as it is. No vCPU may be inside an access.
    ~PciTransport() override;

    void read_config(std::uint16_t offset, std::span<std::byte> bytes) noexcept override;
    void write_config(std::uint16_t offset, std::span<const std::byte> bytes) noexcept override;
    void reset() noexcept override;

    /// From any thread, never waiting for the device.
    [[nodiscard]] TransportSnapshot snapshot() const { return common_.snapshot(); }

private:
    /// ISR status (4.1.4.5): one byte.
    class Isr final : public devices::BusDevice {
    public:
        explicit Isr(PciInterrupts& interrupts) : interrupts_(interrupts) {}
        void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    private:
        PciInterrupts& interrupts_;
    };

    /// Device-specific configuration (4.1.4.6).
    class DeviceConfig final : public devices::BusDevice {
    public:
        DeviceConfig(Device& device, ParkingMutex& mutex, std::uint32_t size)
            : device_(device), mutex_(mutex), size_(size) {}
        void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    private:
        [[nodiscard]] std::size_t inside(std::uint64_t offset, std::size_t length) const noexcept;

        Device& device_;
        ParkingMutex& mutex_;
        std::uint32_t size_;
    };

    /// BAR 0, whose parts are ranges of a bus of its own.
    class RegisterBar final : public devices::BusDevice {
    public:
        void add(std::uint64_t offset, std::uint64_t size, devices::BusDevice& part);
        void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override {
            parts_.read(offset, bytes);
        }
        void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override {
            parts_.write(offset, bytes);
        }

    private:
        devices::Bus parts_;
    };

    void add_bars();
    void config_written() noexcept;  // with config_mutex_ held
    [[nodiscard]] devices::BusDevice* window_target(const PciConfigWindow::Target& target) noexcept;
    void read_window() noexcept;

    Device& device_;
    EventLoop& loop_;
    const unsigned queues_;
    ParkingMutex config_mutex_;
    ParkingMutex device_mutex_;

    pci::ConfigSpace config_;  // guarded by config_mutex_
    pci::Msix msix_;
    const PciLayout layout_;
    const PciCapabilities capabilities_;
    PciConfigWindow window_;  // guarded by config_mutex_
    PciInterrupts interrupts_;
    PciNotify notify_;
    PciCommonConfig common_;
    Isr isr_;
    DeviceConfig device_config_;
    RegisterBar register_bar_;
    pci::Bars bars_;  // guarded by config_mutex_; last, so that it leaves the buses first
};

}  // namespace viaduct::virtio
