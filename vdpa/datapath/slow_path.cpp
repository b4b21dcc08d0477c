#include "vdpa/datapath/slow_path.hpp"

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {

namespace feature = virtio::feature;

SlowPath::SlowPath(SlowPathSetup setup)
    : setup_(std::move(setup)),
      shadow_(setup_.queue_sizes, setup_.iova_range, setup_.memory),
      device_notifiers_(setup_.queue_sizes.size()) {}

std::vector<RingWiring> SlowPath::lay_out(std::span<const virtio::QueueSetup> queues) {
    rings_.assign(queues.size(), {});
    std::vector<RingWiring> wiring(queues.size());
    for (unsigned queue = 0; queue < queues.size(); ++queue) {
        if (!queues[queue].enabled) continue;
        rings_[queue] = shadow_.lay_out(queue, queues[queue].size);
        wiring[queue] = {rings_[queue]->setup,
                         {0},
                         &device_notifiers_[queue].kick,
                         &device_notifiers_[queue].call};
    }
    return wiring;
}

void SlowPath::start_relays(std::span<const virtio::QueueSetup> queues, const RingBases& bases,
                            std::uint64_t features) {
    relays_.clear();
    relays_.resize(queues.size());
    start_ = bases;
    for (unsigned queue = 0; queue < queues.size(); ++queue) {
        if (!queues[queue].enabled) continue;
        const auto ring = virtio::SplitRing::find(setup_.memory, queues[queue]);
        if (!ring) throw Error("the rings of queue {} do not lie in memory", queue);
        QueueRecord& record = setup_.records[queue];
        const std::string name = fmt::format("queue {}", queue);
        relays_[queue] = std::make_unique<RelayThread>(
            RelaySetup{.memory = setup_.memory,
                       .guest_ring = *ring,
                       .base = bases[queue],
                       .shadow = *rings_[queue],
                       .event_idx = (features & feature::event_idx) != 0,
                       .indirect = (features & feature::indirect_desc) != 0,
                       .personality = setup_.personality,
                       .guest_call = setup_.notifiers[queue].call,
                       .device_kick = device_notifiers_[queue].kick,
                       .statistics = record.statistics,
                       .throttle = &record.throttle},
            RelayThreadSetup{
                .name = fmt::format("{}, {}", setup_.name, name),
                .guest_kick = setup_.notifiers[queue].kick,
                .device_call = device_notifiers_[queue].call,
                .longest_poll = setup_.longest_poll,
                .on_guest_fault =
                    [this, name](virtio::RingFault fault) {
                        setup_.on_guest_fault(fmt::format("{}: {}", name, virtio::describe(fault)));
                    },
                .on_device_fault =
                    [this, name](DeviceFault fault) {
                        setup_.on_device_fault(fmt::format("{}: {}", name, describe(fault)));
                    }});
    }
}

void SlowPath::stop_relays() noexcept {
    relays_.clear();
}

void SlowPath::kick_device() const noexcept {
    for (unsigned queue = 0; queue < rings_.size(); ++queue) {
        if (rings_[queue]) device_notifiers_[queue].kick.signal();
    }
}

void SlowPath::order(RelayThread::Order order) {
    for (const auto& relay : relays_) {
        if (relay) relay->order(order);
    }
}

bool SlowPath::wait_for_rest(RelayThread::Clock::time_point deadline) {
    for (const auto& relay : relays_) {
        if (relay && !relay->wait_for_rest(deadline)) return false;
    }
    return true;
}

RingBases SlowPath::bases() const {
    RingBases bases = start_;
    for (std::size_t queue = 0; queue < relays_.size(); ++queue) {
        if (relays_[queue]) bases[queue] = relays_[queue]->next_avail();
    }
    return bases;
}

std::optional<RingBases> SlowPath::rewound() const {
    RingBases bases = start_;
    for (std::size_t queue = 0; queue < relays_.size(); ++queue) {
        if (!relays_[queue]) continue;
        const auto base = relays_[queue]->rewound();
        if (!base) return std::nullopt;
        bases[queue] = *base;
    }
    return bases;
}

}  // namespace viaduct::datapath
