/// The driver's side of a vDPA device, whoever the rings belong to: the sequence of operations that
/// brings a device from reset to DRIVER_OK and back. Nothing here knows a device type or a path.
///
/// On the device's control thread only; throws what the device throws.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "base/event_fd.hpp"
#include "devices/virtio/device.hpp"
#include "vdpa/device.hpp"

namespace viaduct::datapath {

/// What the device is given of one queue.
struct RingWiring {
    virtio::QueueSetup setup;
    vdpa::SplitRingState state;
    // The caller's, until the device is reset and has been given others.
    const EventFd* kick = nullptr;
    const EventFd* call = nullptr;
};

class DeviceSession {
public:
    /// `memory`: all that the device reaches while the session lasts.
    DeviceSession(vdpa::Device& device, std::vector<MemoryRegion> memory)
        : device_(device), memory_(std::move(memory)) {}

    /// After open or reset: a driver is there, and the configuration space can be read as one that
    /// accepts `features` finds it (the kernel would otherwise accept none at the first read).
    void prepare(std::uint64_t features);

    /// Gives the device its memory, unless it has it already. Done before there is a guest, so that
    /// a limit on locked memory is the operator's to hear of.
    void provide_memory();

    /// FEATURES_OK; false when the device does not keep it (virtio 1.2, 3.1.1, step 6).
    bool accept_features(std::uint64_t features);

    /// Memory, rings, eventfds, enabled rings. One wiring for each queue.
    void set_up(std::span<const RingWiring> rings, const EventFd& config_call);
    /// DRIVER_OK, after all that: some devices only look at the rings that are enabled when it
    /// comes. When it throws, the device may run all the same.
    void go();

    /// Status 0. The caller has seen to it that nothing is in flight.
    void reset();

    /// Takes the memory away from the device for good.
    void release_memory();

private:
    vdpa::Device& device_;
    std::vector<MemoryRegion> memory_;
    bool mapped_ = false;
    bool map_is_stale_ = false;
};

}  // namespace viaduct::datapath
