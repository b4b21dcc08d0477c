/// A guest with one vDPA device, without a machine: a datapath::GuestDevice over vhost::VdpaDevice
/// over the fake node, guest memory with a real ring per queue, and a gate that stands for the
/// vCPUs. What happens to the vCPUs is noted in the node's log, between the calls.
#pragma once

#include <poll.h>

#include <array>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "tests/support/fake_vhost_node.hpp"
#include "tests/support/vhost_recording.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/datapath/guest_device.hpp"
#include "vdpa/vhost/vdpa_device.hpp"

namespace viaduct::test {

class FakeGate final : public datapath::VcpuGate {
public:
    explicit FakeGate(FakeVhostNode& node) : node_(node) {}
    void pause() override { node_.note("vCPUs paused"); }
    void resume() override { node_.note("vCPUs resumed"); }

private:
    FakeVhostNode& node_;
};

class GuestWorld {
public:
    static constexpr const char* path = "/dev/vhost-vdpa-0";
    // Guest memory, and the slow path's rings of a disk with one queue of 256 entries.
    static constexpr const char* map_guest = "IOTLB_UPDATE 0x100000 0x1000000";
    static constexpr const char* map_shadow = "IOTLB_UPDATE 0x7ffffffce000 0x32000";
    static constexpr const char* unmap_guest = "IOTLB_INVALIDATE 0x100000 0x1000000";
    static constexpr const char* unmap_shadow = "IOTLB_INVALIDATE 0x7ffffffce000 0x32000";

    explicit GuestWorld(const std::string& recording = "vduse_block")
        : node(load_recording(recording)) {
        options.id = "disk0";
        // Long enough for a busy machine, short enough for a test that waits for it.
        options.drain_timeout = std::chrono::seconds(20);
    }

    /// The device, opened at the first use: what a test changes in node.answers and options comes
    /// before.
    datapath::GuestDevice& guest() {
        if (!guest_) {
            guest_ = std::make_unique<datapath::GuestDevice>(
                options,
                [this] { return std::make_unique<vhost::VdpaDevice>(device_path, node.open()); },
                memory.space(), gate,
                datapath::GuestDevice::Observer{.on_broken =
                                                    [this](const std::string& reason) {
                                                        const std::lock_guard lock(mutex_);
                                                        broken_.push_back(reason);
                                                    },
                                                .on_switched = {}});
            for (unsigned queue = 0; queue < guest_->queue_count(); ++queue) {
                drivers_.push_back(std::make_unique<RingDriver>(memory, ring_size, false));
            }
        }
        return *guest_;
    }
    void close() { guest_.reset(); }

    /// The queues as a driver has set them up: all enabled but those of `left_out`.
    std::vector<virtio::QueueSetup> setups(const std::vector<unsigned>& left_out = {}) {
        std::vector<virtio::QueueSetup> all;
        for (const auto& driver : drivers_) all.push_back(driver->setup());
        for (const unsigned queue : left_out) all.at(queue).enabled = false;
        return all;
    }
    /// Everything from a reset device to DRIVER_OK.
    bool run(const std::vector<unsigned>& left_out = {}) {
        return guest().accept_features(guest().offered_features()) &&
               guest().start(setups(left_out));
    }
    /// As a guest driver begins anew: a reset, and empty rings.
    void reset() {
        guest().reset();
        for (const auto& driver : drivers_) {
            driver->forget_outstanding();
            driver->start_at({});
        }
    }

    RingDriver& driver(unsigned queue = 0) { return *drivers_.at(queue); }
    /// Makes a request available; the guest's kick is the test's.
    void post(unsigned queue = 0) {
        driver(queue).add(std::array{Buffer{memory.allocate(512), 512, true}});
        driver(queue).publish();
    }
    /// Gives the device `count` buffers that it may write.
    void post_buffers(unsigned queue, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            driver(queue).add(std::array{Buffer{memory.allocate(2048, 64), 2048, true}});
        }
        driver(queue).publish();
        guest().guest_kick(queue).signal();
    }
    /// A request from end to end: posted, kicked, used and called for, with the fake serving.
    bool does_io(unsigned queue = 0) {
        (void)guest().guest_call(queue).take();
        post(queue);
        guest().guest_kick(queue).signal();
        return arrives(guest().guest_call(queue)) && driver(queue).take_used().has_value();
    }
    static bool arrives(const EventFd& event) {
        pollfd poll{event.fd(), POLLIN, 0};
        return ::poll(&poll, 1, 10'000) == 1 && event.take();
    }
    /// Returns when the control thread has seen what was signalled before. Twice, as a round of
    /// epoll may report a call before the eventfd that was signalled earlier. Not for a stopped
    /// device.
    void settle() {
        guest().resume();
        guest().resume();
    }

    [[nodiscard]] std::vector<std::string> broken() const {
        const std::lock_guard lock(mutex_);
        return broken_;
    }

    FakeVhostNode node;
    datapath::GuestDeviceOptions options;
    std::string device_path = path;
    std::uint16_t ring_size = 64;
    GuestMemory memory;
    FakeGate gate{node};

private:
    mutable std::mutex mutex_;
    std::vector<std::string> broken_;  // guarded by mutex_
    std::vector<std::unique_ptr<RingDriver>> drivers_;
    std::unique_ptr<datapath::GuestDevice> guest_;
};

}  // namespace viaduct::test
