/// The notify BAR (virtio 1.2, 4.1.4.4): queue q's notify address is the start of page q. A store
/// there goes to the queue's guest_kick eventfd without the VMM (a doorbell), or, while the device
/// runs and has a doorbell page of its own, straight to the device. A notification that reaches the
/// VMM all the same (PCI_CFG window, a doorbell that could not be had) signals guest_kick here.
///
/// Doorbells are attached when their queue is first started and kept over device resets, because
/// taking one away costs the host milliseconds; they follow the BAR. A doorbell page is mapped
/// between start() and stop() only, and while the device has it.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.hpp"
#include "devices/bus.hpp"
#include "devices/doorbells.hpp"
#include "devices/virtio/device.hpp"

namespace viaduct::virtio {

class PciNotify final : public devices::BusDevice {
public:
    PciNotify(Device& device, devices::Doorbells& doorbells, unsigned queues, std::string name);
    PciNotify(const PciNotify&) = delete;
    PciNotify& operator=(const PciNotify&) = delete;
    ~PciNotify() override { device_.set_doorbell_listener({}); }

    /// The BAR is at `address` now; nothing: it is off the bus.
    void move(std::optional<Gpa> address) noexcept;
    /// The device runs with these queues; one setup per queue.
    void start(std::span<const QueueSetup> queues) noexcept;
    void stop() noexcept;
    /// Forgets which queues ever ran: the function is reset.
    void reset() noexcept;

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

private:
    using Registration = std::unique_ptr<devices::Doorbells::Registration>;
    struct Queue {
        bool wanted = false;  // has run since the function's reset
        bool runs = false;
        std::span<std::byte> doorbell;  // the device's page while the queue runs, if it has one
        Registration eventfd;
        Registration page;
    };
    /// The device's doorbell pages have come or gone while it runs.
    void refresh() noexcept;
    // With mutex_ held.
    void connect(unsigned index) noexcept;
    /// The queue works on, the slower way.
    void report(unsigned index, const char* instead, const std::exception& failure) noexcept;

    Device& device_;
    devices::Doorbells& doorbells_;
    const std::string name_;
    std::mutex mutex_;
    std::optional<Gpa> address_;  // guarded by mutex_
    bool reported_ = false;       // guarded by mutex_
    std::vector<Queue> queues_;   // guarded by mutex_, but for its size
};

}  // namespace viaduct::virtio
