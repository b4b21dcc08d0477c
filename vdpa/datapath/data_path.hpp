/// The data path of a running device, and the way from one to the other: who serves the guest's
/// rings, the device itself (fast) or the relays (slow). The guest notices nothing but latency:
/// every request that it made available is completed exactly once, whatever happens.
///
///     quiet ──▶ rewire ──▶ take over         each step can fail; then the old path is built again,
///                                            and if that fails too, the device is lost
///
/// On the device's control thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "vdpa/datapath/device_session.hpp"
#include "vdpa/datapath/drain.hpp"
#include "vdpa/datapath/fast_path.hpp"
#include "vdpa/datapath/personality/personality.hpp"
#include "vdpa/datapath/slow_path.hpp"
#include "vdpa/datapath/vcpu_gate.hpp"
#include "vdpa/device.hpp"

namespace viaduct::datapath {

enum class PathKind : std::uint8_t { fast, slow };

/// "fast", "slow"
const char* name_of(PathKind kind) noexcept;

struct SwitchOptions {
    std::chrono::milliseconds timeout{5000};  // for what is in flight
    /// A time-out is not the end of the attempt but of the device's use: a guest that never lets
    /// its ring become idle must not be able to stay on its path for ever.
    bool break_on_timeout = false;
};

struct SwitchReport {
    PathKind from = PathKind::fast;
    PathKind to = PathKind::fast;
    std::chrono::microseconds blackout{
        0};                              // from the first request not served to the first that is
    std::chrono::microseconds drain{0};  // of that, waiting for what was in flight
    unsigned in_flight = 0;              // requests, when it began
};

/// The attempt has failed, and the device works on as before.
class PathUnchanged : public Error {
    using Error::Error;
};

struct DataPathSetup {
    vdpa::Device& device;
    const AddressSpace& memory;  // the guest's
    const Personality* personality = nullptr;
    VcpuGate& gate;
    std::span<const QueueNotifiers> notifiers;
    const EventFd& config_call;     // the device's
    SlowPath* slow_path = nullptr;  // null: there is the fast one only
};

class DataPath {
public:
    using Clock = std::chrono::steady_clock;

    explicit DataPath(const DataPathSetup& setup);

    /// After open or reset. `offered`: the features that the guest may choose from.
    void prepare(std::uint64_t offered);
    void provide_memory() { session_.provide_memory(); }
    /// The driver's choice; false when the device refuses it.
    bool accept_features(std::uint64_t features);
    /// DRIVER_OK: on this path.
    void start(PathKind kind, std::span<const virtio::QueueSetup> queues);

    /// Throws PathUnchanged; any other Error leaves a device that serves nobody.
    SwitchReport move(PathKind to, const SwitchOptions& options);

    /// With the vCPUs paused: nothing is in flight from here to go_on(), as far as the device type
    /// lets. False when requests were still under way after `timeout`.
    bool rest(std::chrono::milliseconds timeout);
    void go_on();

    /// Status 0, with nothing in flight; what waits in the throttle is forgotten. A device that has
    /// `stopped` of its own has nothing to be waited for. False when requests were still under way
    /// after `timeout`.
    bool reset(bool stopped, std::chrono::milliseconds timeout);
    /// Nobody serves the guest any more, whatever the device does.
    void abandon() noexcept;
    void release_memory() { session_.release_memory(); }

    [[nodiscard]] bool running() const noexcept { return running_; }
    [[nodiscard]] PathKind kind() const noexcept { return kind_; }

private:
    /// What a new path has to begin with.
    struct Standing {
        RingBases bases;
        std::vector<std::byte> config;  // of the device, as it was
    };

    // Quiet: where each ring stands, with nothing in flight. Throw PathUnchanged.
    RingBases quiet(const SwitchOptions& options, std::optional<VcpusPaused>& paused);
    /// After a path was built in part: it may have served since `before`.
    RingBases quiet_again(const SwitchOptions& options, std::optional<VcpusPaused>& paused,
                          const RingBases& before);
    std::optional<RingBases> suspend_fast(std::chrono::milliseconds timeout);
    RingBases drain_fast(const SwitchOptions& options, Clock::time_point deadline,
                         std::optional<VcpusPaused>& paused);
    RingBases drain_slow(const SwitchOptions& options) const;
    RingBases hold_slow(const SwitchOptions& options);
    [[noreturn]] void give_up(const SwitchOptions& options) const;

    void rewire(PathKind kind, const Standing& standing, std::optional<VcpusPaused>& paused);
    void rebuild(PathKind kind, const Standing& standing, std::optional<VcpusPaused>& paused,
                 const std::string& failure);
    void serve(PathKind kind, const RingBases& bases);
    void notify_both_sides() const noexcept;
    [[nodiscard]] std::vector<std::byte> read_config() const;
    void look_for_a_missed_change(std::span<const std::byte> config) const;
    /// The guest's own choice in it (Personality::KeptField).
    void restore_kept_part(std::span<const std::byte> config);

    void suspend_device();
    void resume_device();
    [[nodiscard]] bool can_suspend() const;
    [[nodiscard]] bool drains() const noexcept;
    /// Where the rings of a suspended device stand, once it has handed back what it took.
    [[nodiscard]] std::optional<RingBases> suspended_bases(std::chrono::milliseconds timeout) const;
    [[nodiscard]] bool come_to_rest(std::chrono::milliseconds timeout);
    [[nodiscard]] bool wait_until_idle(std::chrono::milliseconds timeout) const;
    [[nodiscard]] std::vector<RingIndices> rings() const;
    [[nodiscard]] unsigned count_in_flight() const;
    void kick_all_queues() const noexcept;

    DataPathSetup setup_;
    DeviceSession session_;
    std::uint64_t offered_ = 0;
    std::uint64_t features_ = 0;  // the driver's choice
    std::vector<virtio::QueueSetup> queues_;
    PathKind kind_ = PathKind::fast;
    bool running_ = false;
    bool suspended_ = false;  // the device
    bool resting_ = false;
    bool at_rest_ = false;  // and nothing was in flight any more when that began
};

}  // namespace viaduct::datapath
