/// A vDPA device as its guest has it: the virtio::Device that the transport talks to, over whatever
/// vdpa::Device stands behind, and the state between them:
///
///     Idle ──DRIVER_OK──▶ Fast ◀──switch──▶ Slow ──reset──▶ Idle
///       any ──failure──▶ Broken ──guest reset: reopen──▶ Idle
///
/// The operator's policy says which path; `automatic` is slow exactly while something needs it.
/// Every operation on the device runs on its control thread; callers wait for it there, and a vCPU
/// that waits counts as paused. Broken means that the device behind failed: it is closed, the guest
/// finds NEEDS_RESET, the operator is told, and the guest's reset tries again from the start.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/address_space.hpp"
#include "base/event_loop.hpp"
#include "base/log_allowance.hpp"
#include "devices/virtio/device.hpp"
#include "vdpa/datapath/data_path.hpp"
#include "vdpa/datapath/fast_path.hpp"
#include "vdpa/datapath/offered_features.hpp"
#include "vdpa/datapath/personality/personality.hpp"
#include "vdpa/datapath/slow_path.hpp"
#include "vdpa/datapath/throttle/group.hpp"
#include "vdpa/datapath/vcpu_gate.hpp"
#include "vdpa/device.hpp"

namespace viaduct::datapath {

struct GuestDeviceOptions {
    std::string id;
    std::optional<Policy> policy;             // by default what the device type allows
    std::optional<std::uint16_t> queue_size;  // at most; in entries, a power of two
    std::chrono::milliseconds drain_timeout{5000};
    std::chrono::microseconds longest_poll{0};        // of a relay, before it sleeps
    std::shared_ptr<ThrottleGroup> throttle_group{};  // null: with limits, one of its own
    ThrottleLimits throttle{};                        // none: the group's stay as they are
};

/// What became of a wish for another data path: a report, or why not.
using SwitchOutcome = std::variant<SwitchReport, std::string>;

class GuestDevice final : public virtio::Device {
public:
    enum class State { idle, fast, slow, broken };

    /// Opens the device behind; called again after a failure.
    using Open = std::function<std::unique_ptr<vdpa::Device>()>;
    /// Told of what happens of itself, on the control thread.
    struct Observer {
        /// Once for each reason, until the device has served its guest again.
        std::function<void(const std::string& reason)> on_broken;
        std::function<void(const SwitchReport& report)> on_switched;
    };

    /// Opens the device. Throws Error when that fails or the options do not fit it.
    GuestDevice(GuestDeviceOptions options, Open open, const AddressSpace& memory, VcpuGate& gate,
                Observer observer);
    GuestDevice(const GuestDevice&) = delete;
    GuestDevice& operator=(const GuestDevice&) = delete;
    /// Drains, resets and closes the device.
    ~GuestDevice() override;

    [[nodiscard]] const std::string& id() const noexcept { return options_.id; }
    [[nodiscard]] const std::string& path() const noexcept { return identity_.path; }
    [[nodiscard]] Policy policy() const noexcept { return policy_; }
    [[nodiscard]] State state() const noexcept { return state_; }
    [[nodiscard]] std::uint64_t device_features() const noexcept { return identity_.features; }
    /// The device can change its path while it runs.
    [[nodiscard]] bool switchable() const noexcept { return switchable_; }
    /// Of a relay, before it sleeps.
    [[nodiscard]] std::chrono::microseconds longest_poll() const noexcept {
        return options_.longest_poll;
    }
    /// As it was when the device was opened or last said that its configuration has changed;
    /// nothing when it is no disk.
    [[nodiscard]] std::optional<Disk> disk() const;
    /// By queue. Empty when the device cannot be switched.
    [[nodiscard]] std::span<const QueueRecord> records() const noexcept { return records_; }
    /// Null when it is in none: always, when it cannot be switched or is no disk.
    [[nodiscard]] std::shared_ptr<ThrottleGroup> throttle_group() const;
    /// Its group's.
    [[nodiscard]] ThrottleLimits limits() const;

    /// Changes the policy, and the path with it. Returns at once; `done` is called on the control
    /// thread.
    void set_policy(Policy policy, const SwitchOptions& options,
                    std::function<void(SwitchOutcome)> done);
    /// Puts limits in force for the device and all that share the group, and takes to the path
    /// where they are enforced; without a group, in the one that it is in, or in one of its own.
    /// No limits: the device leaves its group, whose limits stay. On failure all is as before. For
    /// disks only. As set_policy().
    void set_throttle(std::shared_ptr<ThrottleGroup> group, const ThrottleLimits& limits,
                      std::function<void(SwitchOutcome)> done);
    /// Puts it into a group as it is, or into none, and takes to the path that this wants.
    void join_group(std::shared_ptr<ThrottleGroup> group, std::function<void(SwitchOutcome)> done);
    /// The group's limits have changed by another's doing: takes to the path that they want, now or
    /// when its guest has reset it.
    void follow_throttle(std::function<void(SwitchOutcome)> done);

    /// The machine stops: with the vCPUs paused, brings the device to rest, as far as its type lets
    /// (see Personality::drains). Bounded by the drain timeout.
    void stop();
    /// The machine goes on.
    void resume();

    // virtio::Device
    [[nodiscard]] std::uint32_t device_id() const noexcept override { return identity_.device_id; }
    [[nodiscard]] std::uint64_t offered_features() const noexcept override { return offered_; }
    [[nodiscard]] unsigned queue_count() const noexcept override {
        return static_cast<unsigned>(identity_.queue_sizes.size());
    }
    [[nodiscard]] std::uint16_t max_queue_size(unsigned queue) const noexcept override;
    [[nodiscard]] std::uint32_t config_size() const noexcept override {
        return identity_.config_size;
    }
    void read_config(std::uint32_t offset, std::span<std::byte> bytes) noexcept override;
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) noexcept override;
    bool accept_features(std::uint64_t features) noexcept override;
    bool start(std::span<const virtio::QueueSetup> queues) noexcept override;
    void reset() noexcept override;
    [[nodiscard]] bool needs_reset() const noexcept override { return needs_reset_; }
    [[nodiscard]] const EventFd& guest_kick(unsigned queue) const noexcept override {
        return notifiers_[queue].kick;
    }
    [[nodiscard]] const EventFd& guest_call(unsigned queue) const noexcept override {
        return notifiers_[queue].call;
    }
    [[nodiscard]] const EventFd& config_call() const noexcept override { return config_call_; }
    [[nodiscard]] std::span<std::byte> doorbell_page(unsigned queue) const noexcept override;
    void set_doorbell_listener(std::function<void()> listener) override;

private:
    /// What a device is, for as long as its guest lives: a reopened one must be the same.
    struct Identity {
        std::string path;
        std::uint32_t device_id = 0;
        std::uint64_t features = 0;
        std::uint32_t config_size = 0;
        std::vector<std::uint16_t> queue_sizes;
        friend bool operator==(const Identity&, const Identity&) = default;
    };

    // On the control thread.
    static Identity identify(vdpa::Device& device);
    void adopt_device(std::unique_ptr<vdpa::Device> device);
    void reopen_device();
    void reset_device();
    void close_device();
    void apply_options(vdpa::Device& device);
    void choose_policy(vdpa::Device& device);
    void check_queue_size() const;
    bool run_guarded(const char* what, const std::function<void()>& operation) noexcept;
    void break_device(const std::string& reason);
    void on_device_config_call();
    void on_guest_fault(const std::string& fault);
    void look_at_disk();
    [[nodiscard]] std::unique_ptr<SlowPath> make_slow_path();
    void bring_to_rest();
    void warn_of_requests_in_flight();

    // The same; in guest_device_policy.cpp.
    void check_policy(Policy policy) const;
    void check_limits_are_enforced() const;
    [[nodiscard]] PathKind wanted_path() const;
    void show_doorbells(bool shown);
    SwitchReport take_to_wanted_path(const SwitchOptions& options);
    SwitchReport change_policy(Policy policy, const SwitchOptions& options);
    SwitchReport change_throttle(const std::shared_ptr<ThrottleGroup>& group,
                                 const ThrottleLimits& limits);
    SwitchReport end_throttle();
    void join_throttle(std::shared_ptr<ThrottleGroup> group);  // null: none
    void post_switch(std::function<SwitchReport()> change, std::function<void(SwitchOutcome)> done);

    GuestDeviceOptions options_;
    Open open_;
    const AddressSpace& memory_;
    VcpuGate& gate_;
    Observer observer_;
    LogAllowance refusals_;  // of what the guest asks for
    LogAllowance failures_;  // the guest cannot crowd these out with refusals

    Identity identity_;
    const Personality* personality_ = nullptr;
    bool switchable_ = false;
    std::string fixed_because_;  // why it is not switchable
    std::uint64_t offered_ = 0;
    std::vector<QueueNotifiers> notifiers_;
    std::vector<QueueRecord> records_;
    std::vector<std::span<std::byte>> doorbells_;  // changes only while none is shown
    EventFd config_call_;                          // to the transport
    EventFd device_config_call_;                   // from the device
    std::atomic<bool> needs_reset_ = false;

    // Changed by the control thread.
    std::atomic<State> state_ = State::idle;
    std::atomic<Policy> policy_ = Policy::automatic;
    std::atomic<bool> doorbells_shown_ = false;
    std::atomic<unsigned> run_ = 0;  // counts the device's runs
    mutable std::mutex report_mutex_;
    std::shared_ptr<ThrottleGroup> throttle_group_;  // guarded by report_mutex_
    std::optional<Disk> disk_;                       // guarded by report_mutex_

    // The control thread's.
    bool device_stopped_ = false;   // of its own: it asks for a reset
    bool machine_stopped_ = false;  // a vCPU that waited meanwhile may still start the device
    std::string told_broken_;       // the last reason, while the device has not served since
    std::function<void()> doorbell_listener_;
    std::unique_ptr<SlowPath> slow_path_;  // outlives the device, which works on its rings
    std::unique_ptr<vdpa::Device> device_;
    std::optional<DataPath> path_;
    EventLoop control_;  // last: its thread uses all of the above
};

}  // namespace viaduct::datapath
