/// A relay between a guest's ring, driven by a RingDriver, and a device that is a device's view of
/// the shadow ring: both sides step by step, in one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "devices/virtio/split_ring_chain.hpp"
#include "devices/virtio/split_ring_device_view.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/datapath/personality/block.hpp"
#include "vdpa/datapath/relay.hpp"
#include "vdpa/datapath/shadow_memory.hpp"

namespace viaduct::test {

struct RelayTerms {
    std::uint16_t ring_size = 8;
    std::uint16_t device_maximum = 0;  // entries that the device's ring could have; 0: as the ring
    bool event_idx = true;
    bool indirect = true;
    virtio::RingIndex base{};
    const datapath::Personality* personality = nullptr;
    datapath::ThrottleMember* throttle = nullptr;
    /// Where the relay is told that the driver's rings are, when it is not where they are.
    void (*place)(virtio::QueueSetup& setup) = nullptr;
};

class RelayWorld {
public:
    using Clock = datapath::Relay::Clock;

    explicit RelayWorld(const RelayTerms& terms)
        : driver(memory, terms.ring_size, terms.event_idx),
          shadow(std::array{std::max(terms.ring_size, terms.device_maximum)},
                 vdpa::IovaRange{Iova{0}, Iova{~std::uint64_t{0}}}, memory.space()),
          shadow_queue(shadow.lay_out(0, terms.ring_size)),
          relay((driver.start_at(terms.base), datapath::RelaySetup{.memory = memory.space(),
                                                                   .guest_ring = ring_of(terms),
                                                                   .base = terms.base,
                                                                   .shadow = shadow_queue,
                                                                   .event_idx = terms.event_idx,
                                                                   .indirect = terms.indirect,
                                                                   .personality = terms.personality,
                                                                   .guest_call = guest_call,
                                                                   .device_kick = device_kick,
                                                                   .statistics = statistics,
                                                                   .throttle = terms.throttle})),
          device(shadow_queue.ring, terms.event_idx, virtio::RingIndex(0)) {
        reach.map(memory.region());
        reach.map(shadow.region());
        chains.emplace(shadow_queue.ring, reach, terms.indirect, std::uint16_t{1024});
        relay.take_over();
        device.take_over();
    }

    /// What the device was given and has not used yet, taken from its ring.
    std::vector<std::uint16_t> take_all() {
        std::vector<std::uint16_t> heads;
        for (std::uint16_t left = device.available().value(); left > 0; --left) {
            heads.push_back(device.head());
            device.take();
        }
        return heads;
    }
    void use(std::uint32_t id, std::uint32_t length) {
        shadow_queue.ring.set_used_entry(used, {id, length});
        ++used;
        shadow_queue.ring.used_idx().store(used.value());
    }
    /// The chain as the device sees it.
    const virtio::Chain& read(std::uint16_t head) {
        if (const auto fault = chains->read(head)) {
            throw std::runtime_error(virtio::describe(*fault));
        }
        return chains->chain();
    }
    bool forward() { return relay.forward(now); }
    bool complete() { return relay.complete(now); }
    Iova buffer(std::size_t bytes = 512) { return memory.allocate(bytes, 16); }

private:
    virtio::SplitRing ring_of(const RelayTerms& terms) const {
        virtio::QueueSetup setup = driver.setup();
        if (terms.place != nullptr) terms.place(setup);
        return virtio::SplitRing::find(memory.space(), setup).value();
    }

public:
    GuestMemory memory;
    RingDriver driver;
    datapath::ShadowMemory shadow;
    datapath::ShadowQueue shadow_queue;
    AddressSpace reach;  // of the device
    EventFd guest_call;
    EventFd device_kick;
    datapath::QueueStatistics statistics;
    datapath::Relay relay;
    virtio::SplitRingDeviceView device;
    std::optional<virtio::ChainReader> chains;
    virtio::RingIndex used;
    Clock::time_point now = Clock::now();
};

}  // namespace viaduct::test
