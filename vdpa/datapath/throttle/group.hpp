/// Limits that several members share: the queues of a disk, or those of several disks. Those whose
/// request has to wait stand in line, reads and writes in lines of their own, one request each, so
/// that they take turns: whoever went and has more goes to the end. Who stands first is told, and
/// knows when it may go; then it may, even if a request of the other direction has filled the
/// bucket again meanwhile, so neither direction can starve the other.
///
/// Turns pass from thread to thread, which takes its time. When that keeps the group far below its
/// limits, a member may go on without its turn, until it is ahead of one in line by what the limits
/// allow in a millisecond: at 1000 requests per second and less, that is one request at most.
///
/// From any thread. Nothing allocates but enter().
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_fd.hpp"
#include "vdpa/datapath/throttle/leaky_bucket.hpp"

namespace viaduct::datapath {

class ThrottleGroup {
public:
    using TimePoint = LeakyBucket::TimePoint;
    using Duration = LeakyBucket::Duration;

    /// A member as its group knows it. From enter() to exit() the group's mutex guards all but
    /// `active`, and the seat stays where it is.
    struct Seat {
        std::atomic<bool> active = false;  // there are limits
        const EventFd* wake = nullptr;     // told when its turn comes and when limits change
        // Read, write: what went without its turn, as the time that the limits take for it.
        std::array<Duration, 2> without_turn{};
    };

    explicit ThrottleGroup(std::string name) : name_(std::move(name)) {}

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] ThrottleLimits limits() const;
    /// Everybody who waits is woken and asks again. Throws Error, with the old limits in force,
    /// when the new ones do not pass check().
    void set_limits(const ThrottleLimits& limits, TimePoint now);

    // For members.
    void enter(Seat& seat);
    void exit(Seat& seat) noexcept;
    void set_wake(Seat& seat, const EventFd* wake) noexcept;
    [[nodiscard]] bool admit(Seat& seat, bool into_device, std::uint64_t bytes,
                             TimePoint now) noexcept;
    [[nodiscard]] std::optional<TimePoint> when(const Seat& seat, bool into_device) const noexcept;
    void withdraw(Seat& seat) noexcept;

private:
    struct Line {
        std::vector<Seat*> seats;      // with room for every member
        TimePoint due;                 // when the first may go
        Duration most_without_turn{};  // of any member
    };

    [[nodiscard]] bool stands_in_line(const Seat& seat, bool into_device) const noexcept;
    /// Who was away has no claim to what others took meanwhile.
    void keep_up(Seat& seat, bool into_device) const noexcept;
    [[nodiscard]] bool go_without_turn(Seat& seat, bool into_device, std::uint64_t bytes,
                                       TimePoint now) noexcept;
    void join_line(Seat& seat, bool into_device, TimePoint now) noexcept;
    void pass_turn(bool into_device, TimePoint now) noexcept;
    static void leave_line(Line& line, const Seat& seat) noexcept;
    void leave_lines(const Seat& seat) noexcept;

    const std::string name_;
    mutable std::mutex mutex_;
    // All guarded by mutex_.
    ThrottleLimits limits_;
    LimitBuckets buckets_;
    std::vector<Seat*> seats_;
    std::array<Line, 2> lines_;  // read, write; each member at most once in each
};

/// The groups by name, for as long as anybody uses them.
class ThrottleGroups {
public:
    /// The one and only group of that name; a new one has no limits.
    [[nodiscard]] std::shared_ptr<ThrottleGroup> find_or_create(const std::string& name);

private:
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<ThrottleGroup>> groups_;  // guarded by mutex_
};

}  // namespace viaduct::datapath
