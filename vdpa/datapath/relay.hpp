/// Stands between one ring of the guest's and one of the device's: takes chains from the one and
/// puts checked copies of their descriptors into the other, and hands used elements back. Data is
/// never touched. This is the work itself, step by step; when it is done, and by whom, is the
/// RelayThread's business.
///
/// What either side can do wrong ends in a fault and harms nobody else: after the guest's, the
/// relay takes nothing more and completes what it took; after the device's, it does nothing more.
/// Nothing here allocates, locks or logs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/event_fd.hpp"
#include "devices/virtio/split_ring_chain.hpp"
#include "devices/virtio/split_ring_device_view.hpp"
#include "vdpa/datapath/personality/personality.hpp"
#include "vdpa/datapath/queue_statistics.hpp"
#include "vdpa/datapath/shadow_ring.hpp"
#include "vdpa/datapath/throttle/member.hpp"

namespace viaduct::datapath {

/// What a device did to its ring that no device may do.
enum class DeviceFault {
    used_index_jumped,
    unknown_element,
};

/// In words, for the log.
const char* describe(DeviceFault fault) noexcept;

struct RelaySetup {
    const AddressSpace& memory;  // the guest's
    virtio::SplitRing guest_ring;
    virtio::RingIndex base;  // where the guest's ring stands: nothing is in flight
    ShadowQueue shadow;
    bool event_idx = false;
    bool indirect = false;
    const Personality* personality = nullptr;
    // The caller's, and outlive the relay.
    const EventFd& guest_call;
    const EventFd& device_kick;
    QueueStatistics& statistics;
    ThrottleMember* throttle = nullptr;
};

class Relay {
public:
    using Clock = std::chrono::steady_clock;

    explicit Relay(const RelaySetup& setup);

    /// Before the first step: kicks and calls come here from now on.
    void take_over() noexcept;

    // The two steps. True when something went through.
    bool forward(Clock::time_point now) noexcept;
    bool complete(Clock::time_point now) noexcept;

    /// Takes nothing more from the guest, and what the throttle holds stays there, until go_on().
    void pause() noexcept;
    void go_on() noexcept { taking_ = true; }
    /// Requests that wait in the throttle go to the device at once.
    void forward_held(Clock::time_point now) noexcept;
    /// They are forgotten, and the guest's memory stays as it is.
    void discard_held() noexcept;

    /// Asks both sides for notifications; true when there is something to do instead of sleeping.
    [[nodiscard]] bool prepare_to_sleep() noexcept;
    /// Both sides may save them.
    void woken() noexcept;
    /// When a request that the throttle holds is to be tried again.
    [[nodiscard]] std::optional<Clock::time_point> next_try() const noexcept;

    [[nodiscard]] unsigned in_flight() const noexcept { return in_flight_; }
    /// The guest's next head: where another goes on when nothing is in flight or held.
    [[nodiscard]] virtio::RingIndex next_avail() const noexcept { return guest_.next_avail(); }
    /// Where another goes on when the device will not touch what is in flight; nothing when it has
    /// handed back a later one before an earlier one.
    [[nodiscard]] std::optional<virtio::RingIndex> rewound() const noexcept;
    [[nodiscard]] std::optional<virtio::RingFault> guest_fault() const noexcept {
        return guest_fault_;
    }
    [[nodiscard]] std::optional<DeviceFault> device_fault() const noexcept { return device_fault_; }

private:
    /// A chain that is in the shadow ring, by its slot.
    struct Slot {
        bool in_flight = false;
        std::uint16_t guest_head = 0;
        virtio::RingIndex taken_at;  // of the guest's avail ring
        std::uint64_t readable = 0;  // bytes
        std::uint64_t writable = 0;
        Request request;
        Clock::time_point taken;
        Clock::time_point held;
    };

    /// First in, first out; room for every slot.
    class Line {
    public:
        explicit Line(std::uint16_t size) : slots_(size) {}
        [[nodiscard]] bool empty() const noexcept { return first_ == end_; }
        [[nodiscard]] std::uint16_t front() const noexcept {
            return slots_[first_ % slots_.size()];
        }
        void push(std::uint16_t slot) noexcept { slots_[end_++ % slots_.size()] = slot; }
        void pop() noexcept { ++first_; }

    private:
        std::vector<std::uint16_t> slots_;
        std::size_t first_ = 0;
        std::size_t end_ = 0;
    };

    [[nodiscard]] bool takes() const noexcept { return taking_ && !guest_fault_ && !device_fault_; }
    /// False: there is no room for the chain.
    bool take_one(Clock::time_point now) noexcept;
    void fail(virtio::RingFault fault) noexcept;
    [[nodiscard]] bool buffers_in_memory() const noexcept;
    void submit_or_hold(std::uint16_t slot, Clock::time_point now) noexcept;
    void submit(std::uint16_t slot) noexcept;
    void try_held(Clock::time_point now) noexcept;
    void leave_line(Line& line, Clock::time_point now) noexcept;
    void publish_available() noexcept;
    void give_back(const virtio::UsedElement& element, Clock::time_point now) noexcept;
    void break_down(DeviceFault fault) noexcept;
    void leave_throttle() const noexcept;
    void record(const Slot& slot, Clock::time_point now) noexcept;

    RelaySetup setup_;
    virtio::SplitRingDeviceView guest_;
    virtio::ChainReader chains_;
    ShadowRing shadow_;
    std::vector<Slot> slots_;
    std::array<Line, 2> held_;  // by direction: out of the device, into it
    unsigned in_flight_ = 0;
    bool taking_ = true;
    bool no_room_ = false;  // chains wait in the guest's ring until a slot is free
    std::optional<virtio::RingFault> guest_fault_;
    std::optional<DeviceFault> device_fault_;
};

}  // namespace viaduct::datapath
