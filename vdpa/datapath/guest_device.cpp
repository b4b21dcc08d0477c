#include "vdpa/datapath/guest_device.hpp"

#include <algorithm>
#include <bit>

#include "base/error.hpp"
#include "base/log.hpp"
#include "devices/virtio/spec.hpp"
#include "vdpa/datapath/personality/personality.hpp"

namespace viaduct::datapath {
namespace {

std::string control_thread_name(const std::string& id) {
    return ("vdpa-" + id).substr(0, 15);
}

}  // namespace

GuestDevice::GuestDevice(GuestDeviceOptions options, Open open, const AddressSpace& memory,
                         VcpuGate& gate, OnBroken on_broken)
    : options_(std::move(options)),
      open_(std::move(open)),
      memory_(memory),
      gate_(gate),
      on_broken_(std::move(on_broken)),
      refusals_(fmt::format("device '{}'", options_.id)),
      failures_(fmt::format("device '{}', failures", options_.id)),
      control_(control_thread_name(options_.id)) {
    control_.call([this] {
        auto device = open_();
        identity_ = identify(*device);
        apply_options();
        adopt_device(std::move(device));
    });
    control_.watch(device_config_call_.fd(), [this] { on_device_config_call(); });
}

GuestDevice::~GuestDevice() {
    control_.unwatch(device_config_call_.fd());
    control_.call([this] {
        try {
            bring_to_rest();
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

void GuestDevice::apply_options() {
    const Personality* personality = find_personality(identity_.device_id);
    const bool switchable = personality != nullptr && personality->switchable;
    policy_ = options_.policy.value_or(switchable ? Policy::automatic : Policy::fast_only);
    if (policy_ == Policy::automatic && !switchable) {
        throw Error(
            "device '{}' ({}) cannot change its data path at run time: use datapath=fast or "
            "datapath=fast-only",
            options_.id, virtio::device_type_name(identity_.device_id));
    }
    offered_ = datapath::offered_features(identity_.features, policy_);
    notifiers_ = std::vector<QueueNotifiers>(identity_.queue_sizes.size());
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
    path_.emplace(*device_, memory_);
    path_->prepare(offered_);
    path_->provide_memory();
}

void GuestDevice::close_device() {
    if (state_ != State::broken) {
        path_->reset();
        path_->release_memory();
    }
    path_.reset();
    device_.reset();
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
    suspended_ = false;
    path_.reset();
    // Closing resets the device. A doorbell page that is still in the guest must not go before the
    // guest's reset has taken it out.
    if (std::all_of(doorbells_.begin(), doorbells_.end(), [](auto page) { return page.empty(); })) {
        device_.reset();
    }
    needs_reset_ = true;
    config_call_.signal();
    if (on_broken_) on_broken_(reason);
}

void GuestDevice::on_device_config_call() {
    if (!device_config_call_.take() || state_ == State::broken) return;
    run_guarded("configuration change", [this] {
        if ((device_->status() & virtio::status::needs_reset) != 0) needs_reset_ = true;
        config_call_.signal();
    });
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
        queues_.assign(queues.begin(), queues.end());
        return run_guarded("start", [&] {
            path_->start(queues, notifiers_, device_config_call_);
            state_ = State::fast;
        });
    });
}

void GuestDevice::reset() noexcept {
    control_.call([this] {
        run_guarded("reset", [this] {
            if (state_ == State::broken) {
                reopen_device();
            } else {
                reset_device();
            }
            needs_reset_ = false;
            state_ = State::idle;
        });
    });
}

void GuestDevice::reset_device() {
    {
        // Another vCPU must not make buffers available between the drain and the reset.
        std::optional<VcpusPaused> paused;
        if (state_ == State::fast) paused.emplace(gate_);
        bring_to_rest();
        path_->reset();
        suspended_ = false;
    }
    path_->prepare(offered_);
}

void GuestDevice::stop() {
    control_.call([this] { run_guarded("stop", [this] { bring_to_rest(); }); });
}

void GuestDevice::resume() {
    control_.call([this] {
        run_guarded("resume", [this] {
            if (!suspended_) return;
            suspended_ = false;
            device_->resume();
            kick_all_queues();
        });
    });
}

void GuestDevice::bring_to_rest() {
    // A device that asks for a reset has stopped: there is nothing to wait for.
    if (state_ != State::fast || suspended_ || needs_reset_) return;
    if (device_->supports_suspend() && device_->supports_resume()) {
        device_->suspend();
        suspended_ = true;
    } else if (const Personality* personality = find_personality(identity_.device_id);
               personality != nullptr && personality->drains && !drain()) {
        failures_.warning("device '{}' still has requests in flight after {} ms", options_.id,
                          options_.drain_timeout.count());
    }
}

bool GuestDevice::drain() {
    std::vector<RingIndices> rings;
    for (const virtio::QueueSetup& queue : queues_) {
        if (queue.enabled) rings.emplace_back(memory_, queue);
    }
    // A vCPU may have been stopped between its avail.idx store and its notify.
    kick_all_queues();
    return wait_until_idle(rings, options_.drain_timeout);
}

void GuestDevice::kick_all_queues() const noexcept {
    for (unsigned queue = 0; queue < queues_.size(); ++queue) {
        if (queues_[queue].enabled) notifiers_[queue].kick.signal();
    }
}

std::span<std::byte> GuestDevice::doorbell_page(unsigned queue) const noexcept {
    return doorbells_[queue];
}

}  // namespace viaduct::datapath
