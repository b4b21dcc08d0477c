/// A relay between a hostile guest and a hostile device, turn by turn in one thread and in a time
/// of its own. After each turn it is compared with what it should have done:
///
/// * the device has been given chains that the guest made available, each once, buffer for buffer,
///   every byte of them in guest memory, their tables out of the guest's reach, and no more than
///   the ring holds;
/// * the guest has been handed back what it made available, each once and no length above the
///   chain's, and nothing that the device did not use;
/// * a chain or an index that makes no sense, and nothing else, ends in a fault of the right side;
/// * whoever wants to be notified is, and a relay with nothing to do can sleep;
/// * where another could go on, if the device handed back what it has, nothing is lost or twice.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "base/event_fd.hpp"
#include "tests/fuzz/hostile_device.hpp"
#include "tests/fuzz/hostile_guest.hpp"
#include "vdpa/datapath/relay.hpp"
#include "vdpa/datapath/shadow_memory.hpp"
#include "vdpa/datapath/throttle/member.hpp"

namespace viaduct::fuzz {

struct Terms {
    virtio::QueueSetup queue{8, HostileGuest::ram, HostileGuest::ram + 0x800,
                             HostileGuest::ram + 0x1000, true};
    virtio::RingIndex base{};
    bool event_idx = false;
    bool indirect = false;
    bool block = false;      // the device is a disk
    std::uint64_t iops = 0;  // limit; 0: none
};

class RelayStage {
public:
    static constexpr std::uint16_t largest_ring = 64;

    RelayStage();
    RelayStage(const RelayStage&) = delete;
    RelayStage& operator=(const RelayStage&) = delete;
    ~RelayStage();

    /// False when the rings cannot be: the queue will not serve.
    bool start(const Terms& terms);

    [[nodiscard]] const HostileGuest& guest() const noexcept { return guest_; }
    [[nodiscard]] Iova shadow_window() const noexcept { return shadow_.region().iova; }
    // Once it has started.
    [[nodiscard]] const virtio::SplitRing& guest_ring() const noexcept { return *ring_; }
    [[nodiscard]] HostileDevice& device() noexcept { return *device_; }

    // The relay's turns.
    void forward();
    void complete();
    /// As its thread does it: until it may sleep.
    void run();
    void pause();
    void go_on();
    void forward_held();
    void discard_held();
    void wait(std::chrono::milliseconds time) { now_ += time; }

    /// At the end of all.
    void require_consistent() const;

private:
    [[nodiscard]] bool rings_may_be(const virtio::QueueSetup& queue) const;
    [[nodiscard]] std::optional<std::vector<Buffer>> chain_of_guest(std::uint16_t head) const;
    [[nodiscard]] bool in_memory(const std::vector<Buffer>& buffers) const;
    void note_taken(virtio::RingIndex before);
    void require_refused_rightly() const;
    void look_at_device();
    void require_woken_when_needed() const;
    void require_rewound_rightly() const;
    [[nodiscard]] bool interrupt_wanted(virtio::RingIndex before) const;

    HostileGuest guest_;
    datapath::ShadowMemory shadow_;
    Terms terms_;
    std::optional<virtio::SplitRing> ring_;
    EventFd guest_call_;
    EventFd device_kick_;
    datapath::QueueStatistics statistics_;
    datapath::ThrottleMember throttle_;
    std::unique_ptr<datapath::Relay> relay_;
    std::unique_ptr<HostileDevice> device_;
    std::deque<Taken> held_;  // taken and not given to the device
    virtio::RingIndex used_;  // the guest's used.idx as the relay should keep it
    bool paused_ = false;
    datapath::Relay::Clock::time_point now_{std::chrono::hours(1)};
};

}  // namespace viaduct::fuzz
