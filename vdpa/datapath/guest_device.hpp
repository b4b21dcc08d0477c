/// A vDPA device as its guest has it: the virtio::Device that the transport talks to, over whatever
/// vdpa::Device stands behind, and the state between them:
///
///     Idle ──DRIVER_OK──▶ Fast ──reset──▶ Idle
///       any ──failure──▶ Broken ──guest reset: reopen──▶ Idle
///
/// Every operation on the device runs on its control thread; callers wait for it there, and a vCPU
/// that waits counts as paused. Broken means that the device behind failed: it is closed, the guest
/// finds NEEDS_RESET, the operator is told, and the guest's reset tries again from the start.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address_space.hpp"
#include "base/event_loop.hpp"
#include "base/log_allowance.hpp"
#include "devices/virtio/device.hpp"
#include "vdpa/datapath/drain.hpp"
#include "vdpa/datapath/fast_path.hpp"
#include "vdpa/datapath/offered_features.hpp"
#include "vdpa/datapath/vcpu_gate.hpp"
#include "vdpa/device.hpp"

namespace viaduct::datapath {

struct GuestDeviceOptions {
    std::string id;
    std::optional<Policy> policy;             // by default what the device type allows
    std::optional<std::uint16_t> queue_size;  // at most; in entries, a power of two
    std::chrono::milliseconds drain_timeout{5000};
};

class GuestDevice final : public virtio::Device {
public:
    enum class State { idle, fast, broken };

    /// Opens the device behind; called again after a failure.
    using Open = std::function<std::unique_ptr<vdpa::Device>()>;
    /// Told once when the device breaks, on the control thread, with the reason.
    using OnBroken = std::function<void(const std::string& reason)>;

    /// Opens the device. Throws Error when that fails or the options do not fit it.
    GuestDevice(GuestDeviceOptions options, Open open, const AddressSpace& memory, VcpuGate& gate,
                OnBroken on_broken);
    GuestDevice(const GuestDevice&) = delete;
    GuestDevice& operator=(const GuestDevice&) = delete;
    /// Drains, resets and closes the device.
    ~GuestDevice() override;

    [[nodiscard]] const std::string& id() const noexcept { return options_.id; }
    [[nodiscard]] const std::string& path() const noexcept { return identity_.path; }
    [[nodiscard]] Policy policy() const noexcept { return policy_; }
    [[nodiscard]] State state() const noexcept { return state_; }
    [[nodiscard]] std::uint64_t device_features() const noexcept { return identity_.features; }

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
    void apply_options();
    bool run_guarded(const char* what, const std::function<void()>& operation) noexcept;
    void break_device(const std::string& reason);
    void on_device_config_call();
    void bring_to_rest();
    bool drain();
    void kick_all_queues() const noexcept;

    GuestDeviceOptions options_;
    Open open_;
    const AddressSpace& memory_;
    VcpuGate& gate_;
    OnBroken on_broken_;
    LogAllowance refusals_;  // of what the guest asks for
    LogAllowance failures_;  // the guest cannot crowd these out with refusals

    Identity identity_;
    Policy policy_ = Policy::automatic;
    std::uint64_t offered_ = 0;
    std::vector<QueueNotifiers> notifiers_;
    std::vector<std::span<std::byte>> doorbells_;  // changes only while the guest has none mapped
    EventFd config_call_;                          // to the transport
    EventFd device_config_call_;                   // from the device
    std::atomic<bool> needs_reset_ = false;

    std::atomic<State> state_ = State::idle;  // changed by the control thread

    // The control thread's.
    bool suspended_ = false;
    std::unique_ptr<vdpa::Device> device_;
    std::optional<FastPath> path_;
    std::vector<virtio::QueueSetup> queues_;  // as started
    EventLoop control_;                       // last: its thread uses all of the above
};

}  // namespace viaduct::datapath
