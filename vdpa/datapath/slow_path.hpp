/// The slow path: the device works on shadow rings, and a relay per queue stands between them and
/// the guest's. Owns the shadow memory, the device's eventfds and the relays; they come and go with
/// each turn on this path, the memory stays.
///
/// On the device's control thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vdpa/datapath/fast_path.hpp"
#include "vdpa/datapath/personality/personality.hpp"
#include "vdpa/datapath/queue_statistics.hpp"
#include "vdpa/datapath/relay_thread.hpp"
#include "vdpa/datapath/shadow_memory.hpp"
#include "vdpa/datapath/throttle/member.hpp"

namespace viaduct::datapath {

/// What outlives a device that breaks and is opened again, by queue.
struct QueueRecord {
    QueueStatistics statistics;
    ThrottleMember throttle;
};

struct SlowPathSetup {
    std::string name;            // of the device, for errors
    const AddressSpace& memory;  // the guest's
    const Personality* personality = nullptr;
    std::vector<std::uint16_t> queue_sizes;  // by queue: at most, of the device's own
    vdpa::IovaRange iova_range;
    std::span<const QueueNotifiers> notifiers;
    std::span<QueueRecord> records;
    std::chrono::microseconds longest_poll{0};
    // Called on a relay's thread when a ring makes no sense, with what is wrong.
    std::function<void(const std::string&)> on_guest_fault;
    std::function<void(const std::string&)> on_device_fault;
};

class SlowPath {
public:
    explicit SlowPath(SlowPathSetup setup);

    /// What the device has to reach beside guest memory.
    [[nodiscard]] MemoryRegion shadow_region() const noexcept { return shadow_.region(); }

    /// What the device is given: fresh shadow rings of the guest's sizes. No relay may run.
    std::vector<RingWiring> lay_out(std::span<const virtio::QueueSetup> queues);
    /// After the device has started on what lay_out() made. `features`: the driver's.
    void start_relays(std::span<const virtio::QueueSetup> queues, const RingBases& bases,
                      std::uint64_t features);
    /// Ends the relays; what is in flight is nobody's any more.
    void stop_relays() noexcept;

    /// Kicks the device once for each of its rings.
    void kick_device() const noexcept;

    void order(RelayThread::Order order);
    /// After pause, leave or discard: nothing is in flight. False at the deadline.
    bool wait_for_rest(RelayThread::Clock::time_point deadline);
    /// While at rest: where each of the guest's rings stands.
    [[nodiscard]] RingBases bases() const;
    /// At rest after hold: where each ring stands when the device gives back what it has not
    /// touched. Nothing when it has used a later buffer before an earlier one.
    [[nodiscard]] std::optional<RingBases> rewound() const;

private:
    struct DeviceNotifiers {
        EventFd kick;
        EventFd call;
    };

    SlowPathSetup setup_;
    ShadowMemory shadow_;
    std::vector<DeviceNotifiers> device_notifiers_;
    std::vector<std::optional<ShadowQueue>> rings_;  // by queue, as laid out
    RingBases start_;                                // where the relays began
    std::vector<std::unique_ptr<RelayThread>>
        relays_;  // by queue; null for one that is not enabled
};

}  // namespace viaduct::datapath
