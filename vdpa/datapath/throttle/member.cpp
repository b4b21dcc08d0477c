#include "vdpa/datapath/throttle/member.hpp"

#include <utility>

namespace viaduct::datapath {

bool ThrottleMember::admit(bool into_device, std::uint64_t bytes, TimePoint now) noexcept {
    if (!active()) return true;
    const std::lock_guard lock(mutex_);
    return group_ == nullptr || group_->admit(seat_, into_device, bytes, now);
}

std::optional<ThrottleMember::TimePoint> ThrottleMember::when(bool into_device) const noexcept {
    const std::lock_guard lock(mutex_);
    if (group_ == nullptr) return std::nullopt;
    return group_->when(seat_, into_device);
}

void ThrottleMember::withdraw() noexcept {
    const std::lock_guard lock(mutex_);
    if (group_ != nullptr) group_->withdraw(seat_);
}

void ThrottleMember::join(std::shared_ptr<ThrottleGroup> group) {
    const std::lock_guard lock(mutex_);
    if (group == group_) return;
    // From one group to another the seat stays active: nothing slips through between the two.
    if (group_ != nullptr) std::exchange(group_, nullptr)->exit(seat_);
    group->enter(seat_);
    group_ = std::move(group);
    tell();
}

void ThrottleMember::leave() noexcept {
    const std::lock_guard lock(mutex_);
    if (group_ == nullptr) return;
    std::exchange(group_, nullptr)->exit(seat_);
    seat_.active.store(false, std::memory_order_release);
    tell();
}

void ThrottleMember::set_wake(const EventFd* wake) noexcept {
    const std::lock_guard lock(mutex_);
    if (group_ != nullptr) return group_->set_wake(seat_, wake);
    seat_.wake = wake;
}

void ThrottleMember::tell() const noexcept {
    if (seat_.wake != nullptr) seat_.wake->signal();
}

}  // namespace viaduct::datapath
