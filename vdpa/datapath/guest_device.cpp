#include "vdpa/datapath/guest_device.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {
namespace {

std::string control_thread_name(const std::string& id) {
    return ("vdpa-" + id).substr(0, 15);
}

}  // namespace

GuestDevice::GuestDevice(GuestDeviceOptions options, Open open, const AddressSpace& memory,
                         VcpuGate& gate, Observer observer)
    : options_(std::move(options)),
      open_(std::move(open)),
      memory_(memory),
      gate_(gate),
      observer_(std::move(observer)),
      refusals_(fmt::format("device '{}'", options_.id)),
      failures_(fmt::format("device '{}', failures", options_.id)),
      control_(control_thread_name(options_.id)) {
    control_.call([this] {
        auto device = open_();
        identity_ = identify(*device);
        apply_options(*device);
        adopt_device(std::move(device));
    });
    control_.watch(device_config_call_.fd(), [this] { on_device_config_call(); });
}

GuestDevice::~GuestDevice() {
    control_.unwatch(device_config_call_.fd());
    control_.call([this] {
        try {
            bring_to_rest();  // and the drain's limit is said once
            close_device();
        } catch (const std::exception& failure) {
            log::warning("device '{}' did not close in order: {}", options_.id, failure.what());
        }
    });
}

GuestDevice::Identity GuestDevice::identify(vdpa::Device& device) {
    Identity identity{
        device.name(), device.device_id(), device.features(), device.config_size(), {}};
    for (unsigned queue = 0; queue < device.queue_count(); ++queue) {
        identity.queue_sizes.push_back(device.max_queue_size(queue));
    }
    return identity;
}

void GuestDevice::apply_options(vdpa::Device& device) {
    choose_policy(device);
    check_queue_size();
    offered_ = carried_features(identity_.features);
    notifiers_ = std::vector<QueueNotifiers>(identity_.queue_sizes.size());
    const bool is_disk = personality_ != nullptr && personality_->describe_disk != nullptr;
    if (options_.throttle.any() && !is_disk) {
        throw Error(
            "device '{}' has I/O limits, and is a {} device: limits are for disks, leave them away",
            options_.id, virtio::device_type_name(identity_.device_id));
    }
    if (!switchable_) {
        if (!options_.throttle.any()) return;
        throw Error(
            "device '{}' has I/O limits, but stays on the fast path, where nobody would enforce "
            "them: leave the limits away, or use datapath=auto where the device type allows it",
            options_.id);
    }
    offered_ = switchable_features(identity_.features, personality_->not_switchable);
    records_ = std::vector<QueueRecord>(identity_.queue_sizes.size());
    if (!is_disk) return;
    join_throttle(options_.throttle_group);
    if (!options_.throttle.any()) return;
    if (!throttle_group_) join_throttle(std::make_shared<ThrottleGroup>(options_.id));
    if (policy_ == Policy::fast) {
        throw Error(
            "device '{}' has I/O limits and datapath=fast, where nobody would enforce them: use "
            "datapath=auto or slow",
            options_.id);
    }
    throttle_group_->set_limits(options_.throttle, ThrottleGroup::TimePoint::clock::now());
}

void GuestDevice::choose_policy(vdpa::Device& device) {
    personality_ = find_personality(identity_.device_id);
    if (personality_ == nullptr) {
        fixed_because_ = fmt::format(
            "nothing is known of {} devices that would let their state be rebuilt after a reset",
            virtio::device_type_name(identity_.device_id));
    } else if (options_.policy == Policy::fast_only) {
        fixed_because_ =
            "it was started with datapath=fast-only, and its guest has been offered what only the "
            "fast path carries";
    } else if (!device.supports_ring_state()) {
        fixed_because_ =
            "it does not let a ring begin where another has left it (VHOST_SET_VRING_BASE)";
    }
    const bool chosen = options_.policy.value_or(Policy::fast) != Policy::fast;
    if (!fixed_because_.empty() && chosen && options_.policy != Policy::fast_only) {
        throw Error(
            "device '{}' cannot change its data path at run time: {}: use datapath=fast or "
            "datapath=fast-only",
            options_.id, fixed_because_);
    }
    const bool automatic = fixed_because_.empty() && personality_->automatic;
    policy_ = options_.policy.value_or(automatic ? Policy::automatic : Policy::fast_only);
    if (fixed_because_.empty() && policy_ == Policy::fast_only) {
        fixed_because_ =
            "devices of its type stay on the fast path unless they are started with "
            "datapath=auto";
    }
    switchable_ = fixed_because_.empty();
}

void GuestDevice::check_queue_size() const {
    if (!options_.queue_size) return;
    const unsigned wanted = *options_.queue_size;
    if (!std::has_single_bit(wanted)) {
        throw Error("queue-size={} of device '{}' is not a power of two: use {} or {}", wanted,
                    options_.id, std::bit_floor(wanted), std::bit_ceil(wanted));
    }
    for (unsigned queue = 0; queue < identity_.queue_sizes.size(); ++queue) {
        if (wanted > identity_.queue_sizes[queue]) {
            throw Error(
                "queue-size={} of device '{}' is over the {} entries that queue {} of {} has: use "
                "{} or less",
                wanted, options_.id, identity_.queue_sizes[queue], queue, identity_.path,
                identity_.queue_sizes[queue]);
        }
    }
}

std::uint16_t GuestDevice::max_queue_size(unsigned queue) const noexcept {
    return options_.queue_size.value_or(identity_.queue_sizes[queue]);
}

void GuestDevice::reopen_device() {
    doorbells_.assign(queue_count(), {});  // they go with the device
    device_.reset();                       // only one may be open
    slow_path_.reset();
    auto device = open_();
    if (identify(*device) != identity_) {
        throw Error("vDPA device {} is another one than before: restart the guest to use it",
                    identity_.path);
    }
    adopt_device(std::move(device));
}

void GuestDevice::adopt_device(std::unique_ptr<vdpa::Device> device) {
    device_ = std::move(device);
    doorbells_.clear();
    for (unsigned queue = 0; queue < queue_count(); ++queue) {
        doorbells_.push_back(device_->doorbell_page(queue));
    }
    if (switchable_) slow_path_ = make_slow_path();
    path_.emplace(DataPathSetup{*device_, memory_, personality_, gate_, notifiers_,
                                device_config_call_, slow_path_.get()});
    path_->prepare(offered_);
    path_->provide_memory();
    look_at_disk();
}

void GuestDevice::look_at_disk() {
    if (personality_ == nullptr || personality_->describe_disk == nullptr) return;
    std::vector<std::byte> config(identity_.config_size);
    device_->read_config(0, config);
    const Disk disk = personality_->describe_disk(identity_.features, config);
    const std::lock_guard lock(report_mutex_);
    disk_ = disk;
}

std::optional<Disk> GuestDevice::disk() const {
    const std::lock_guard lock(report_mutex_);
    return disk_;
}

std::unique_ptr<SlowPath> GuestDevice::make_slow_path() {
    // A fault is of the run that it comes from, and means nothing to the next.
    const auto report = [this](auto&& handle) {
        return [this, handle](const std::string& fault) {
            control_.post([this, handle, fault, run = run_.load()] {
                if (run == run_) handle(fault);
            });
        };
    };
    return std::make_unique<SlowPath>(SlowPathSetup{
        .name = fmt::format("device '{}'", options_.id),
        .memory = memory_,
        .personality = personality_,
        .queue_sizes = identity_.queue_sizes,
        .iova_range = device_->iova_range(),
        .notifiers = notifiers_,
        .records = records_,
        .longest_poll = options_.longest_poll,
        .on_guest_fault = report([this](const std::string& fault) { on_guest_fault(fault); }),
        .on_device_fault = report([this](const std::string& fault) { break_device(fault); })});
}

void GuestDevice::close_device() {
    if (state_ != State::broken) {
        (void)path_->reset(device_stopped_, std::chrono::milliseconds(0));
        path_->release_memory();
    }
    path_.reset();
    device_.reset();
    slow_path_.reset();
}

bool GuestDevice::run_guarded(const char* what, const std::function<void()>& operation) noexcept {
    try {
        operation();
        return true;
    } catch (const std::exception& failure) {
        break_device(fmt::format("{}: {}", what, failure.what()));
        return false;
    }
}

void GuestDevice::break_device(const std::string& reason) {
    failures_.error("device '{}' is broken until its guest resets it: {}", options_.id, reason);
    state_ = State::broken;
    ++run_;
    if (path_) path_->abandon();
    path_.reset();
    // Closing resets the device. A doorbell page that is still in the guest must not go before the
    // guest's reset has taken it out.
    const auto is_empty = [](auto page) { return page.empty(); };
    if (!doorbells_shown_ || std::all_of(doorbells_.begin(), doorbells_.end(), is_empty)) {
        device_.reset();
        slow_path_.reset();
    }
    needs_reset_ = true;
    config_call_.signal();
    // A guest that resets it again and again must not flood whoever listens.
    if (std::exchange(told_broken_, reason) != reason && observer_.on_broken) {
        observer_.on_broken(reason);
    }
}

void GuestDevice::on_device_config_call() {
    if (!device_config_call_.take() || state_ == State::broken) return;
    run_guarded("configuration change", [this] {
        if ((device_->status() & virtio::status::needs_reset) != 0) {
            device_stopped_ = true;
            needs_reset_ = true;
        }
        look_at_disk();
        config_call_.signal();
    });
}

void GuestDevice::on_guest_fault(const std::string& fault) {
    refusals_.warning("device '{}' needs a reset by its guest: {}", options_.id, fault);
    needs_reset_ = true;
    config_call_.signal();
}

void GuestDevice::read_config(std::uint32_t offset, std::span<std::byte> bytes) noexcept {
    control_.call([&] {
        const bool read = state_ != State::broken && run_guarded("configuration read", [&] {
                              device_->read_config(offset, bytes);
                          });
        if (!read) std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    });
}

void GuestDevice::write_config(std::uint32_t offset, std::span<const std::byte> bytes) noexcept {
    control_.call([&] {
        if (state_ == State::broken) return;
        try {
            device_->write_config(offset, bytes);
        } catch (const Error& refused) {
            // The guest's own doing: a device may refuse a write, and the guest reads back.
            log::debug("device '{}': {}", options_.id, refused.what());
        }
    });
}

bool GuestDevice::accept_features(std::uint64_t features) noexcept {
    return control_.call([&] {
        if (state_ == State::broken) return false;
        try {
            return path_->accept_features(features | virtio::feature::access_platform);
        } catch (const Error& refused) {
            refusals_.warning("device '{}' refuses the features {:#x}: {}", options_.id, features,
                              refused.what());
            return false;
        }
    });
}

bool GuestDevice::start(std::span<const virtio::QueueSetup> queues) noexcept {
    return control_.call([&] {
        if (state_ == State::broken) return false;
        for (const virtio::QueueSetup& queue : queues) {
            if (!queue.enabled || rings_in_memory(memory_, queue)) continue;
            refusals_.warning("device '{}': the guest placed a ring outside its memory",
                              options_.id);
            return false;
        }
        return run_guarded("start", [&] {
            const PathKind kind = wanted_path();
            path_->start(kind, queues);
            state_ = kind == PathKind::fast ? State::fast : State::slow;
            told_broken_.clear();
            if (machine_stopped_) bring_to_rest();
            doorbells_shown_ = kind == PathKind::fast;
        });
    });
}

void GuestDevice::reset() noexcept {
    control_.call([this] {
        run_guarded("reset", [this] {
            doorbells_shown_ = false;  // the transport has taken them out
            if (state_ == State::broken) {
                reopen_device();
            } else {
                reset_device();
            }
            device_stopped_ = false;
            needs_reset_ = false;
            state_ = State::idle;
        });
    });
}

void GuestDevice::reset_device() {
    // One that sleeps would hold up the vCPUs for as long.
    if (state_ == State::fast) device_->wait_for_answer();
    {
        // Another vCPU must not make buffers available between the drain and the reset.
        std::optional<VcpusPaused> paused;
        if (state_ == State::fast) paused.emplace(gate_);
        if (!path_->reset(device_stopped_, options_.drain_timeout)) warn_of_requests_in_flight();
        ++run_;
    }
    path_->prepare(offered_);
}

void GuestDevice::stop() {
    control_.call([this] {
        machine_stopped_ = true;
        run_guarded("stop", [this] { bring_to_rest(); });
    });
}

void GuestDevice::resume() {
    control_.call([this] {
        machine_stopped_ = false;
        run_guarded("resume", [this] {
            if (path_) path_->go_on();
        });
    });
}

void GuestDevice::bring_to_rest() {
    // A device that asks for a reset has stopped: there is nothing to wait for.
    if (!path_ || device_stopped_) return;
    if (!path_->rest(options_.drain_timeout)) warn_of_requests_in_flight();
}

void GuestDevice::warn_of_requests_in_flight() {
    failures_.warning("device '{}' still has requests in flight after {} ms", options_.id,
                      options_.drain_timeout.count());
}

std::span<std::byte> GuestDevice::doorbell_page(unsigned queue) const noexcept {
    return doorbells_shown_ ? doorbells_[queue] : std::span<std::byte>();
}

void GuestDevice::set_doorbell_listener(std::function<void()> listener) {
    control_.call([&] { doorbell_listener_ = std::move(listener); });
}

}  // namespace viaduct::datapath
