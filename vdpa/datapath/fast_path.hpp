/// The fast path: the device works on the guest's own rings, kicked and calling by the guest's own
/// eventfds, and nobody stands between.
#pragma once

#include <span>
#include <vector>

#include "base/address_space.hpp"
#include "base/event_fd.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/split_ring.hpp"
#include "vdpa/datapath/device_session.hpp"

namespace viaduct::datapath {

/// The guest's eventfds of one queue. They stay the same objects whatever the path.
struct QueueNotifiers {
    EventFd kick;
    EventFd call;
};

/// Where each queue's ring stands, by queue: nothing before it is in flight.
using RingBases = std::vector<virtio::RingIndex>;

/// What the device is given on the fast path.
std::vector<RingWiring> guest_wiring(std::span<const virtio::QueueSetup> queues,
                                     const RingBases& bases,
                                     std::span<const QueueNotifiers> notifiers);

/// Before the device takes over rings that somebody else served: asks the guest for kicks from
/// `bases` on, whatever that one left behind. Devices do not always do it themselves (vdpa_sim
/// never clears a NO_NOTIFY).
void ask_for_kicks(const AddressSpace& memory, std::span<const virtio::QueueSetup> queues,
                   const RingBases& bases, bool event_idx);

}  // namespace viaduct::datapath
