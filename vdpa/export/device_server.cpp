#include "vdpa/export/device_server.hpp"

#include <array>
#include <memory>
#include <utility>
#include <variant>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::vduse {
namespace {

namespace status = virtio::status;

/// Used buffer notifications by the kernel, which sends them on to whoever drives the device.
class QueueInterrupt final : public soft::Interrupt {
public:
    QueueInterrupt(Node& node, unsigned queue) noexcept : node_(node), queue_(queue) {}
    void raise() const noexcept override { node_.interrupt(queue_); }

private:
    Node& node_;
    unsigned queue_;
};

}  // namespace

DeviceServer::DeviceServer(DeviceServerSetup setup)
    : setup_(std::move(setup)), kicks_(setup_.disk.queue_count()) {}

void DeviceServer::take_over(std::uint8_t status) {
    // What was in flight is nobody's when the device does not run: its daemon was killed while it
    // stopped it, or its driver was killed over a reset of which nobody was there to hear.
    if ((status & status::driver_ok) == 0) return setup_.disk.reset();
    if (setup_.node.features() == 0) return set_status(0);
    try {
        start(true);
    } catch (const Error& failure) {
        // As if this process were killed here: what was in flight is for whoever tries next.
        setup_.disk.halt();
        throw Error(
            "{} cannot be taken up where the daemon before it was ended: {}; try again, or end its "
            "users and take it away with `viaduct-export stop {}`",
            setup_.name, failure.what(), setup_.name);
    }
}

void DeviceServer::serve() {
    while (const auto request = setup_.node.receive()) {
        vduse_dev_response response{};
        response.request_id = request->request_id;
        try {
            response.result =
                answer(*request, response) ? VDUSE_REQ_RESULT_OK : VDUSE_REQ_RESULT_FAILED;
        } catch (const Error& failure) {
            setup_.log.error("{}: {}", setup_.name, failure.what());
            response.result = VDUSE_REQ_RESULT_FAILED;
        }
        setup_.node.respond(response);
    }
}

bool DeviceServer::answer(const vduse_dev_request& request, vduse_dev_response& response) {
    switch (request.type) {
        case VDUSE_GET_VQ_STATE: {
            const std::uint32_t queue = request.vq_state.index;
            if (queue >= kicks_.size()) return false;
            response.vq_state.index = queue;
            response.vq_state.split.avail_index =
                std::get<vdpa::SplitRingState>(setup_.disk.state_of_running(queue)).avail_index;
            return true;
        }
        case VDUSE_SET_STATUS:
            set_status(request.s.status);
            return true;
        case VDUSE_UPDATE_IOTLB:
            update_memory();
            return true;
        default:
            setup_.log.warning("{}: the kernel sends a message of an unknown kind, {}", setup_.name,
                               request.type);
            return false;
    }
}

void DeviceServer::set_status(std::uint8_t status) {
    // First of all, wherever this process may be killed. A device that runs under a status that
    // says otherwise would be started anew by the next daemon, at the beginning of its rings; one
    // that stops would be taken up with a log that is empty already, and do again what is done.
    setup_.on_status(status);
    if (status == 0) return stop();
    if ((status & status::driver_ok) == 0 || memory_) return;
    try {
        start(false);
    } catch (const Error&) {
        setup_.on_status(static_cast<std::uint8_t>(status & ~status::driver_ok));
        stop();
        throw;
    }
}

void DeviceServer::start(bool takes_over) {
    soft::SoftDevice& disk = setup_.disk;
    constexpr std::uint8_t driver = status::acknowledge | status::driver;
    disk.set_status(driver);
    disk.set_features(setup_.node.features());
    disk.set_status(driver | status::features_ok);
    memory_.emplace(setup_.node, setup_.bounce_bytes());
    disk.replace_map(memory_->regions());
    for (unsigned queue = 0; queue < kicks_.size(); ++queue) start_queue(queue);
    if (takes_over) disk.take_over();
    disk.set_status(driver | status::features_ok | status::driver_ok);
}

void DeviceServer::start_queue(unsigned queue) {
    const QueueInfo info = setup_.node.queue_info(queue);
    if (!info.ready) return;
    soft::SoftDevice& disk = setup_.disk;
    disk.set_queue_size(queue, info.size);
    disk.set_ring_addresses(queue, info.addresses);
    disk.set_ring_state(queue, vdpa::SplitRingState{info.avail_index});
    disk.set_interrupt(queue, std::make_unique<QueueInterrupt>(setup_.node, queue));
    disk.set_kick(queue, kicks_[queue]);
    disk.enable_queue(queue, true);
    // Kicks of before go nowhere: an engine begins by looking.
    setup_.node.set_kick(queue, &kicks_[queue]);
}

void DeviceServer::stop() {
    // What touches the driver's memory first: the rest may fail.
    setup_.disk.reset();
    setup_.disk.replace_map({});
    memory_.reset();
    for (unsigned queue = 0; queue < kicks_.size(); ++queue) {
        setup_.node.set_kick(queue, nullptr);
    }
}

void DeviceServer::update_memory() {
    if (!memory_) return;  // looked at when the device starts
    DriverMemory now(setup_.node, setup_.bounce_bytes());
    try {
        setup_.disk.replace_map(now.regions());
    } catch (const Error&) {
        // It may hold what ends here with `now`.
        setup_.disk.replace_map(memory_->regions());
        throw;
    }
    memory_.emplace(std::move(now));
}

std::uint64_t DeviceServer::grow() {
    const std::uint64_t sectors = setup_.disk.measure_again();
    std::array<std::byte, sizeof(sectors)> capacity{};
    setup_.disk.read_config(0, capacity);  // the first field (5.2.4)
    setup_.node.write_config(0, capacity);
    setup_.node.interrupt_config();
    return sectors;
}

}  // namespace viaduct::vduse
