#include "vdpa/datapath/device_session.hpp"

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {

namespace status = virtio::status;

void DeviceSession::prepare(std::uint64_t features) {
    device_.set_status(status::acknowledge);
    device_.set_status(status::acknowledge | status::driver);
    device_.set_features(features);
}

bool DeviceSession::accept_features(std::uint64_t features) {
    device_.set_features(features);
    device_.set_status(status::acknowledge | status::driver | status::features_ok);
    return (device_.status() & status::features_ok) != 0;
}

void DeviceSession::provide_memory() {
    if (mapped_ && map_is_stale_) release_memory();
    if (!mapped_) device_.map(memory_);
    mapped_ = true;
    map_is_stale_ = false;
}

void DeviceSession::release_memory() {
    if (mapped_) device_.unmap(memory_);
    mapped_ = false;
}

void DeviceSession::set_up(std::span<const RingWiring> rings, const EventFd& config_call) {
    provide_memory();
    for (unsigned queue = 0; queue < rings.size(); ++queue) {
        const RingWiring& ring = rings[queue];
        const virtio::QueueSetup& setup = ring.setup;
        if (!setup.enabled) continue;
        device_.set_queue_size(queue, setup.size);
        device_.set_ring_addresses(queue,
                                   {setup.descriptors, setup.driver_area, setup.device_area});
        device_.set_ring_state(queue, ring.state);
        device_.set_kick(queue, *ring.kick);
        device_.set_call(queue, *ring.call);
    }
    device_.set_config_call(config_call);
    for (unsigned queue = 0; queue < rings.size(); ++queue) {
        if (rings[queue].setup.enabled) device_.enable_queue(queue, true);
    }
}

void DeviceSession::go() {
    constexpr std::uint8_t running =
        status::acknowledge | status::driver | status::features_ok | status::driver_ok;
    device_.set_status(running);
    const std::uint8_t now = device_.status();
    if ((now & running) != running || (now & status::needs_reset) != 0) {
        throw Error("vDPA device {} did not start: its status is {:#x}, {:#x} was expected",
                    device_.name(), now, running);
    }
}

void DeviceSession::reset() {
    device_.reset();
    map_is_stale_ = !device_.keeps_map_over_reset();
}

}  // namespace viaduct::datapath
