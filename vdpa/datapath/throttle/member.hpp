/// One relay's end of a throttle group. It is asked for every request of the relay's; without a
/// group, or without limits, that is one load. While limits are in force it costs two locks that
/// are contended only by the group's other members and by commands.
///
/// A request that has to wait is asked for again, before any other of its direction: at when(), or
/// after the wake signal, which says that it may be this member's turn, or that there are other
/// limits, or none.
///
/// admit(), when() and withdraw() are for the relay's thread; the rest is for any other, at any
/// time.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "vdpa/datapath/throttle/group.hpp"

namespace viaduct::datapath {

class ThrottleMember {
public:
    using TimePoint = ThrottleGroup::TimePoint;

    explicit ThrottleMember(const EventFd* wake = nullptr) noexcept { seat_.wake = wake; }
    ThrottleMember(const ThrottleMember&) = delete;
    ThrottleMember& operator=(const ThrottleMember&) = delete;
    ~ThrottleMember() { leave(); }

    /// There are limits.
    [[nodiscard]] bool active() const noexcept {
        return seat_.active.load(std::memory_order_acquire);
    }
    /// Whether the request may go: then it is accounted for. Otherwise the member is now in line.
    [[nodiscard]] bool admit(bool into_device, std::uint64_t bytes, TimePoint now) noexcept;
    /// When the request that waits may go. Nothing: it is another's turn, a wake signal will come.
    [[nodiscard]] std::optional<TimePoint> when(bool into_device) const noexcept;
    /// Nothing waits any more.
    void withdraw() noexcept;

    /// Instead of the group that it may be in. What waits asks the new one.
    void join(std::shared_ptr<ThrottleGroup> group);
    /// What waits may go.
    void leave() noexcept;
    /// What the relay's thread sleeps on, signalled at once; null withdraws, after that thread has
    /// ended. Outlives its use here.
    void set_wake(const EventFd* wake) noexcept;

private:
    void tell() const noexcept;

    mutable std::mutex mutex_;              // taken before the group's
    std::shared_ptr<ThrottleGroup> group_;  // guarded by mutex_
    ThrottleGroup::Seat seat_;              // guarded by mutex_, in a group by the group's
};

}  // namespace viaduct::datapath
