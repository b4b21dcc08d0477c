/// The fast path: the device works on the guest's own rings, kicked and calling by the guest's own
/// eventfds, and nobody stands between. This is the sequence of operations on a vdpa::Device that
/// gets there and back; nothing here knows a device type.
///
/// On the device's control thread only; throws what the device throws.
#pragma once

#include <cstdint>
#include <span>

#include "base/address_space.hpp"
#include "base/event_fd.hpp"
#include "devices/virtio/device.hpp"
#include "vdpa/device.hpp"

namespace viaduct::datapath {

/// The guest's eventfds of one queue.
struct QueueNotifiers {
    EventFd kick;
    EventFd call;
};

class FastPath {
public:
    FastPath(vdpa::Device& device, const AddressSpace& memory) : device_(device), memory_(memory) {}

    /// After open or reset: a driver is there, and the configuration space can be read as one that
    /// accepts `features` finds it (the kernel would otherwise accept none at the first read).
    void prepare(std::uint64_t features);

    /// Gives the device the guest's memory, unless it has it already. Done before there is a guest,
    /// so that a limit on locked memory is the operator's to hear of.
    void provide_memory();

    /// FEATURES_OK; false when the device does not keep it (virtio 1.2, 3.1.1, step 6).
    bool accept_features(std::uint64_t features);

    /// Memory, rings, eventfds, enabled rings, and then DRIVER_OK, in this order: some devices only
    /// look at the rings that are enabled when DRIVER_OK comes.
    void start(std::span<const virtio::QueueSetup> queues,
               std::span<const QueueNotifiers> notifiers, const EventFd& config_call);

    /// Status 0. The caller has seen to it that nothing is in flight.
    void reset();

    /// Takes guest memory away from the device for good.
    void release_memory();

private:
    vdpa::Device& device_;
    const AddressSpace& memory_;
    bool mapped_ = false;
    bool map_is_stale_ = false;
};

}  // namespace viaduct::datapath
