/// How a virtio-pci function interrupts (virtio 1.2, 4.1.4.5 and 4.1.5.1.2): by MSI-X vectors while
/// MSI-X is enabled, by INTx and the ISR register otherwise.
///
/// A running queue's guest_call eventfd belongs to exactly one reader: its MSI-X vector (an irqfd;
/// the VMM executes nothing) or, in INTx mode, the event loop. The switch between the two takes the
/// old reader away before the new one comes, and what was signalled in between waits in the
/// eventfd.
///
/// Locks. EventLoop::watch and unwatch wait for the loop's thread, so nothing that a callback on
/// that thread takes may be held across them. Hence two locks:
///   mode_mutex_  which reader the queues have; held across watch and unwatch. vCPU threads (and
///   the
///                machine, while they stand still) only. It parks: whoever waits counts as paused.
///   mutex_       ISR, line and vector registers; what the loop's callbacks and the ISR register
///                take. Held for a few instructions and never across a wait.
/// Order: mode_mutex_, mutex_, the locks inside Msix.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/event_loop.hpp"
#include "base/parking.hpp"
#include "devices/interrupts.hpp"
#include "devices/pci/msix.hpp"
#include "devices/virtio/device.hpp"

namespace viaduct::virtio {

class PciInterrupts {
public:
    PciInterrupts(Device& device, pci::Msix& msix, devices::InterruptLine& line, EventLoop& loop,
                  unsigned queues);
    PciInterrupts(const PciInterrupts&) = delete;
    PciInterrupts& operator=(const PciInterrupts&) = delete;
    ~PciInterrupts();

    // The vector registers: NO_VECTOR when the table has no such vector.
    [[nodiscard]] std::uint16_t config_vector() const noexcept;
    [[nodiscard]] std::uint16_t queue_vector(unsigned queue) const noexcept;
    void set_config_vector(std::uint16_t vector) noexcept;
    void set_queue_vector(unsigned queue, std::uint16_t vector) noexcept;

    /// The device is about to run with these queues; one setup per queue.
    void start(std::span<const QueueSetup> queues) noexcept;
    /// The device has been reset: no queue runs, no vector is set, the line is low.
    void reset() noexcept;

    // What the guest's configuration accesses change.
    void set_msix_control(bool enabled, bool function_masked) noexcept;
    void set_intx_disabled(bool disabled) noexcept;
    [[nodiscard]] bool msix_enabled() const noexcept;

    // From any thread, without waiting for anybody:
    /// Sends a configuration change notification (4.1.5.1.3).
    void config_changed() noexcept;
    /// Reads and clears ISR status (4.1.4.5), which lowers the line.
    std::uint8_t take_isr() noexcept;
    /// The interrupt status bit of the PCI status register.
    [[nodiscard]] bool intx_pending() const noexcept;

private:
    struct Queue {
        std::uint16_t vector;  // written with both locks held
        bool running;          // guarded by mode_mutex_
    };
    // With mode_mutex_ held.
    void connect(unsigned queue) noexcept;
    void disconnect(unsigned queue) noexcept;
    void enter_msix(bool function_masked) noexcept;
    void enter_intx() noexcept;
    // With mutex_ held.
    void update_line() noexcept;

    void queue_used(unsigned queue) noexcept;  // the loop's thread
    [[nodiscard]] std::uint16_t known_vector(std::uint16_t vector) const noexcept;

    Device& device_;
    pci::Msix& msix_;
    devices::InterruptLine& line_;
    EventLoop& loop_;

    ParkingMutex mode_mutex_;
    mutable std::mutex mutex_;
    std::vector<Queue> queues_;
    // Written with both locks held.
    bool msix_enabled_ = false;
    // Guarded by mutex_.
    std::uint16_t config_vector_;
    std::uint8_t isr_ = 0;
    bool intx_disabled_ = false;
    bool asserted_ = false;
};

}  // namespace viaduct::virtio
