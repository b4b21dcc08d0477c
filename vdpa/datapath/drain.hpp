/// Waits until a device has used every buffer that its driver made available: used.idx == avail.idx
/// on each ring (virtio 1.2, 2.7.6 and 2.7.8). The only way to know that a device without SUSPEND
/// has nothing in flight, and true only while nobody makes more available.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/split_ring.hpp"

namespace viaduct::datapath {

/// The two free-running indices of a split ring, in guest memory.
class RingIndices {
public:
    /// Both rings must lie in `memory`, which the caller has checked.
    RingIndices(const AddressSpace& memory, const virtio::QueueSetup& queue) noexcept;

    [[nodiscard]] bool idle() const noexcept;
    /// Where the driver stands; where the device does too while the ring is idle.
    [[nodiscard]] virtio::RingIndex avail() const noexcept;
    [[nodiscard]] virtio::RingIndex used() const noexcept;

private:
    std::uint16_t* avail_index_;
    std::uint16_t* used_index_;
};

/// True when `idle` became true; false after `timeout`.
bool wait_until(const std::function<bool()>& idle, std::chrono::milliseconds timeout);

/// True when all rings became idle; false after `timeout`.
bool wait_until_idle(std::span<const RingIndices> rings, std::chrono::milliseconds timeout);

/// Whether the queue's three areas lie wholly in `memory`, each in one piece and aligned as the
/// specification wants (2.7: 16, 2 and 4 bytes).
bool rings_in_memory(const AddressSpace& memory, const virtio::QueueSetup& queue) noexcept;

}  // namespace viaduct::datapath
