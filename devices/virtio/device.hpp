/// A virtio device as a transport sees it (virtio 1.2, 2 and 3): what it offers, and what happens
/// when the driver negotiates, starts and resets it. The transport keeps the registers; this keeps
/// the device. Behind it may stand anything.
///
/// Called from vCPU threads, one call at a time per device (the transport's lock). Calls may wait
/// for the device. None throws: what fails is a result.
///
/// Some are called beside that, from the transport's event loop and from who reports on the device,
/// with no lock and while another call is under way: needs_reset(), guest_call(), config_call(),
/// and what never changes (device_id(), offered_features(), queue_count(), max_queue_size(),
/// config_size()). They wait for nobody.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/address.hpp"
#include "base/event_fd.hpp"

namespace viaduct::virtio {

/// A virtqueue as the driver has set it up (2.6).
struct QueueSetup {
    std::uint16_t size = 0;  // entries
    Iova descriptors;        // descriptor area: 16 bytes an entry
    Iova driver_area;        // avail ring
    Iova device_area;        // used ring
    bool enabled = false;
};

class Device {
public:
    virtual ~Device() = default;

    [[nodiscard]] virtual std::uint32_t device_id() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t offered_features() const noexcept = 0;
    [[nodiscard]] virtual unsigned queue_count() const noexcept = 0;
    /// In entries, a power of two; 0 means that the queue is not available.
    [[nodiscard]] virtual std::uint16_t max_queue_size(unsigned queue) const noexcept = 0;
    [[nodiscard]] virtual std::uint32_t config_size() const noexcept = 0;

    /// Device-specific configuration space (2.5), inside [0, config_size()); never cached.
    virtual void read_config(std::uint32_t offset, std::span<std::byte> bytes) noexcept = 0;
    virtual void write_config(std::uint32_t offset, std::span<const std::byte> bytes) noexcept = 0;

    /// The driver wrote FEATURES_OK (3.1.1, step 5). False: the device refuses the subset, and the
    /// driver will not find FEATURES_OK set when it reads the status back.
    virtual bool accept_features(std::uint64_t features) noexcept = 0;
    /// The driver wrote DRIVER_OK; one setup per queue. False: the device needs a reset.
    virtual bool start(std::span<const QueueSetup> queues) noexcept = 0;
    /// When it returns, the device touches no guest memory and sends nothing.
    virtual void reset() noexcept = 0;
    /// True from a failure that only a reset mends, until that reset (2.1.2).
    [[nodiscard]] virtual bool needs_reset() const noexcept = 0;

    /// Signalled by the guest's store to the queue's notify address; stays the same object for
    /// ever.
    [[nodiscard]] virtual const EventFd& guest_kick(unsigned queue) const noexcept = 0;
    /// Signalled by the device for a used buffer notification; stays the same object for ever.
    [[nodiscard]] virtual const EventFd& guest_call(unsigned queue) const noexcept = 0;
    /// Signalled when the configuration changed or needs_reset() became true.
    [[nodiscard]] virtual const EventFd& config_call() const noexcept = 0;
    /// The device's own doorbell page for the queue, to be mapped into the guest while the device
    /// runs; empty when there is none.
    [[nodiscard]] virtual std::span<std::byte> doorbell_page(unsigned queue) const noexcept = 0;
    /// `listener` is called, on any thread, when doorbell_page() has changed while the device runs;
    /// when it returns the guest has what is right now. An empty one: nobody listens any more.
    virtual void set_doorbell_listener(std::function<void()> listener) = 0;
};

}  // namespace viaduct::virtio
