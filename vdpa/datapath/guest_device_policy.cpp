// Which data path a device is to be on, and getting there.
#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "vdpa/datapath/guest_device.hpp"

namespace viaduct::datapath {

void GuestDevice::set_policy(Policy policy, const SwitchOptions& options,
                             std::function<void(SwitchOutcome)> done) {
    post_switch([this, policy, options] { return change_policy(policy, options); },
                std::move(done));
}

void GuestDevice::set_throttle(std::shared_ptr<ThrottleGroup> group, const ThrottleLimits& limits,
                               std::function<void(SwitchOutcome)> done) {
    post_switch([this, group = std::move(group), limits] { return change_throttle(group, limits); },
                std::move(done));
}

void GuestDevice::follow_throttle(std::function<void(SwitchOutcome)> done) {
    post_switch(
        [this] {
            if (limits().any()) check_limits_are_enforced();
            // What has stopped takes up what is wanted after its guest's reset. But a part of it
            // may work on where nobody holds it to limits.
            const PathKind to = wanted_path();
            const bool escapes = state_ == State::fast && to == PathKind::slow;
            if (needs_reset_ && !escapes) return SwitchReport{.from = to, .to = to};
            return take_to_wanted_path({.timeout = options_.drain_timeout});
        },
        std::move(done));
}

void GuestDevice::join_group(std::shared_ptr<ThrottleGroup> group,
                             std::function<void(SwitchOutcome)> done) {
    post_switch(
        [this, group = std::move(group)] {
            join_throttle(group);
            return take_to_wanted_path({.timeout = options_.drain_timeout});
        },
        std::move(done));
}

void GuestDevice::check_limits_are_enforced() const {
    if (policy_ != Policy::fast) return;
    throw Error(
        "its data path is 'fast' by the operator's word, and limits are enforced on the slow path: "
        "vdpa-set-datapath with mode auto first");
}

void GuestDevice::post_switch(std::function<SwitchReport()> change,
                              std::function<void(SwitchOutcome)> done) {
    control_.post([this, change = std::move(change), done = std::move(done)] {
        SwitchOutcome outcome;
        try {
            outcome = change();
        } catch (const std::exception& failure) {
            outcome = fmt::format("device '{}': {}", options_.id, failure.what());
        }
        done(std::move(outcome));
    });
}

SwitchReport GuestDevice::change_policy(Policy policy, const SwitchOptions& options) {
    check_policy(policy);
    const Policy before = policy_.exchange(policy);
    try {
        return take_to_wanted_path(options);
    } catch (const PathUnchanged&) {
        // Of a device that broke the policy holds: its guest must not begin anew where it was.
        policy_ = before;
        throw;
    }
}

void GuestDevice::check_policy(Policy policy) const {
    if (policy == policy_) return;
    if (!switchable_) throw Error("it stays on the fast path: {}", fixed_because_);
    if (policy == Policy::fast_only) {
        throw Error(
            "its guest has been offered what both paths carry: fast-only is a start's choice");
    }
    if (policy == Policy::fast && limits().any()) {
        throw Error(
            "it has I/O limits, which nobody would enforce on the fast path: clear them "
            "first (block_set_io_throttle with 0s)");
    }
}

SwitchReport GuestDevice::change_throttle(const std::shared_ptr<ThrottleGroup>& group,
                                          const ThrottleLimits& limits) {
    check(limits);
    if (!disk()) {
        throw Error("it is a {} device: I/O limits are for disks",
                    virtio::device_type_name(identity_.device_id));
    }
    if (!switchable_) check_policy(Policy::automatic);
    if (!limits.any()) return end_throttle();
    check_limits_are_enforced();
    const auto old_group = throttle_group();
    const auto joined = group       ? group
                        : old_group ? old_group
                                    : std::make_shared<ThrottleGroup>(options_.id);
    const ThrottleLimits old_limits = joined->limits();
    join_throttle(joined);
    joined->set_limits(limits, ThrottleGroup::TimePoint::clock::now());
    try {
        return take_to_wanted_path({.timeout = options_.drain_timeout});
    } catch (...) {
        joined->set_limits(old_limits, ThrottleGroup::TimePoint::clock::now());
        join_throttle(old_group);
        throw;
    }
}

SwitchReport GuestDevice::end_throttle() {
    const auto group = throttle_group();
    join_throttle(nullptr);
    try {
        return take_to_wanted_path({.timeout = options_.drain_timeout});
    } catch (...) {
        join_throttle(group);
        throw;
    }
}

std::shared_ptr<ThrottleGroup> GuestDevice::throttle_group() const {
    const std::lock_guard lock(report_mutex_);
    return throttle_group_;
}

void GuestDevice::join_throttle(std::shared_ptr<ThrottleGroup> group) {
    const std::lock_guard lock(report_mutex_);
    if (group == throttle_group_) return;
    for (QueueRecord& record : records_) {
        if (group) {
            record.throttle.join(group);
        } else {
            record.throttle.leave();
        }
    }
    throttle_group_ = std::move(group);
}

ThrottleLimits GuestDevice::limits() const {
    const auto group = throttle_group();
    return group ? group->limits() : ThrottleLimits();
}

PathKind GuestDevice::wanted_path() const {
    switch (policy_) {
        case Policy::slow:
            return PathKind::slow;
        case Policy::automatic:
            return limits().any() ? PathKind::slow : PathKind::fast;
        case Policy::fast:
        case Policy::fast_only:
            break;
    }
    return PathKind::fast;
}

void GuestDevice::show_doorbells(bool shown) {
    if (doorbells_shown_.exchange(shown) != shown && doorbell_listener_) doorbell_listener_();
}

SwitchReport GuestDevice::take_to_wanted_path(const SwitchOptions& options) {
    const PathKind to = wanted_path();
    // Where nothing runs, the wish holds from the next start on.
    if (state_ == State::idle || state_ == State::broken) return {.from = to, .to = to};
    if (path_->kind() == to) return {.from = to, .to = to};
    if (needs_reset_) {
        // What has stopped in part does not come to rest.
        const std::string reason =
            "it needs a reset by its guest before it can change its path (vdpa-set-datapath with "
            "on-timeout=break takes it away from a guest that does not)";
        if (!options.break_on_timeout) throw PathUnchanged("{}", reason);
        break_device(fmt::format("switch to the {} path: {}", name_of(to), reason));
        throw Error("{}", reason);
    }
    // Its own doorbell would bypass whoever stands between.
    show_doorbells(false);
    try {
        const SwitchReport report = path_->move(to, options);
        state_ = to == PathKind::fast ? State::fast : State::slow;
        show_doorbells(to == PathKind::fast);
        if (observer_.on_switched) observer_.on_switched(report);
        return report;
    } catch (const PathUnchanged&) {
        show_doorbells(path_->kind() == PathKind::fast);
        throw;
    } catch (const std::exception& failure) {
        break_device(fmt::format("switch to the {} path: {}", name_of(to), failure.what()));
        throw;
    }
}

}  // namespace viaduct::datapath
