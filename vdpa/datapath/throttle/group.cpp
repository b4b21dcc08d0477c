#include "vdpa/datapath/throttle/group.hpp"

#include <algorithm>

namespace viaduct::datapath {
namespace {

/// Long against a hand-over between two threads, short against what a disk's user notices.
constexpr auto farthest_ahead = std::chrono::milliseconds(1);

void tell(const EventFd* wake) noexcept {
    if (wake != nullptr) wake->signal();
}

}  // namespace

ThrottleLimits ThrottleGroup::limits() const {
    const std::lock_guard lock(mutex_);
    return limits_;
}

void ThrottleGroup::set_limits(const ThrottleLimits& limits, TimePoint now) {
    check(limits);
    const std::lock_guard lock(mutex_);
    limits_ = limits;
    buckets_.set(limits, now);
    for (Line& line : lines_) {
        line.seats.clear();
        line.most_without_turn = {};
    }
    for (Seat* seat : seats_) {
        seat->active.store(limits.any(), std::memory_order_release);
        seat->without_turn = {};
        tell(seat->wake);
    }
}

void ThrottleGroup::enter(Seat& seat) {
    const std::lock_guard lock(mutex_);
    for (Line& line : lines_) line.seats.reserve(seats_.size() + 1);
    seats_.push_back(&seat);
    seat.without_turn = {};
    seat.active.store(limits_.any(), std::memory_order_release);
}

void ThrottleGroup::exit(Seat& seat) noexcept {
    const std::lock_guard lock(mutex_);
    leave_lines(seat);
    std::erase(seats_, &seat);
}

void ThrottleGroup::set_wake(Seat& seat, const EventFd* wake) noexcept {
    const std::lock_guard lock(mutex_);
    seat.wake = wake;
    if (wake == nullptr) leave_lines(seat);
    tell(wake);
}

bool ThrottleGroup::admit(Seat& seat, bool into_device, std::uint64_t bytes,
                          TimePoint now) noexcept {
    const std::lock_guard lock(mutex_);
    if (!limits_.any()) return true;
    const auto& seats = lines_[direction(into_device)].seats;
    if (seats.empty() && buckets_.wait(into_device, now) <= Duration::zero()) {
        buckets_.account(into_device, bytes, now);
        return true;
    }
    if (!seats.empty() && seats.front() == &seat) {
        if (now < lines_[direction(into_device)].due) return false;
        buckets_.account(into_device, bytes, now);
        pass_turn(into_device, now);
        return true;
    }
    if (stands_in_line(seat, into_device)) return false;
    keep_up(seat, into_device);
    if (go_without_turn(seat, into_device, bytes, now)) return true;
    join_line(seat, into_device, now);
    return false;
}

bool ThrottleGroup::stands_in_line(const Seat& seat, bool into_device) const noexcept {
    const auto& seats = lines_[direction(into_device)].seats;
    return std::find(seats.begin(), seats.end(), &seat) != seats.end();
}

void ThrottleGroup::keep_up(Seat& seat, bool into_device) const noexcept {
    const Duration most = lines_[direction(into_device)].most_without_turn;
    Duration& mine = seat.without_turn[direction(into_device)];
    mine = std::max(mine, most - farthest_ahead);
}

bool ThrottleGroup::go_without_turn(Seat& seat, bool into_device, std::uint64_t bytes,
                                    TimePoint now) noexcept {
    Line& line = lines_[direction(into_device)];
    if (line.seats.empty() || !buckets_.lags(into_device, now)) return false;
    Duration& mine = seat.without_turn[direction(into_device)];
    const Duration next = mine + buckets_.time_for(into_device, bytes);
    for (const Seat* other : line.seats) {
        if (next > other->without_turn[direction(into_device)] + farthest_ahead) return false;
    }
    mine = next;
    line.most_without_turn = std::max(line.most_without_turn, mine);
    buckets_.account(into_device, bytes, now);
    return true;
}

void ThrottleGroup::join_line(Seat& seat, bool into_device, TimePoint now) noexcept {
    Line& line = lines_[direction(into_device)];
    if (line.seats.empty()) line.due = now + buckets_.wait(into_device, now);
    line.seats.push_back(&seat);
}

void ThrottleGroup::pass_turn(bool into_device, TimePoint now) noexcept {
    Line& line = lines_[direction(into_device)];
    line.seats.erase(line.seats.begin());
    if (line.seats.empty()) return;
    line.due = now + buckets_.wait(into_device, now);
    tell(line.seats.front()->wake);
}

void ThrottleGroup::leave_line(Line& line, const Seat& seat) noexcept {
    const auto place = std::find(line.seats.begin(), line.seats.end(), &seat);
    if (place == line.seats.end()) return;
    const bool had_the_turn = place == line.seats.begin();
    line.seats.erase(place);
    // When the first may go does not depend on who it is.
    if (had_the_turn && !line.seats.empty()) tell(line.seats.front()->wake);
}

void ThrottleGroup::leave_lines(const Seat& seat) noexcept {
    for (Line& line : lines_) leave_line(line, seat);
}

std::optional<ThrottleGroup::TimePoint> ThrottleGroup::when(const Seat& seat,
                                                            bool into_device) const noexcept {
    const std::lock_guard lock(mutex_);
    const Line& line = lines_[direction(into_device)];
    if (line.seats.empty() || line.seats.front() != &seat) return std::nullopt;
    return line.due;
}

void ThrottleGroup::withdraw(Seat& seat) noexcept {
    const std::lock_guard lock(mutex_);
    leave_lines(seat);
}

std::shared_ptr<ThrottleGroup> ThrottleGroups::find_or_create(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (auto group = groups_[name].lock()) return group;
    std::erase_if(groups_, [](const auto& entry) { return entry.second.expired(); });
    auto group = std::make_shared<ThrottleGroup>(name);
    groups_[name] = group;
    return group;
}

}  // namespace viaduct::datapath
