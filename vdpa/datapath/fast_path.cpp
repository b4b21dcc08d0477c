#include "vdpa/datapath/fast_path.hpp"

#include "devices/virtio/split_ring_device_view.hpp"

namespace viaduct::datapath {

std::vector<RingWiring> guest_wiring(std::span<const virtio::QueueSetup> queues,
                                     const RingBases& bases,
                                     std::span<const QueueNotifiers> notifiers) {
    std::vector<RingWiring> rings;
    for (std::size_t queue = 0; queue < queues.size(); ++queue) {
        rings.push_back({queues[queue],
                         {bases[queue].value()},
                         &notifiers[queue].kick,
                         &notifiers[queue].call});
    }
    return rings;
}

void ask_for_kicks(const AddressSpace& memory, std::span<const virtio::QueueSetup> queues,
                   const RingBases& bases, bool event_idx) {
    for (std::size_t queue = 0; queue < queues.size(); ++queue) {
        if (!queues[queue].enabled) continue;
        if (const auto ring = virtio::SplitRing::find(memory, queues[queue])) {
            virtio::SplitRingDeviceView(*ring, event_idx, bases[queue]).take_over();
        }
    }
}

}  // namespace viaduct::datapath
