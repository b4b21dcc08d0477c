#include "vdpa/datapath/data_path.hpp"

#include <algorithm>
#include <variant>

#include "base/log.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {
namespace {

using Order = RelayThread::Order;

std::chrono::microseconds since(DataPath::Clock::time_point start) {
    return std::chrono::duration_cast<std::chrono::microseconds>(DataPath::Clock::now() - start);
}

/// For a suspended device to hand back what it took, before it is asked to go on instead: most
/// disks answer in less, and a device that never does delays the switch by no more than this.
constexpr std::chrono::milliseconds suspended_grace(20);
/// For the relays' threads to hear an order, however little time a switch has.
constexpr std::chrono::milliseconds hearing(200);

std::chrono::milliseconds until(DataPath::Clock::time_point deadline) {
    return std::max(std::chrono::ceil<std::chrono::milliseconds>(deadline - DataPath::Clock::now()),
                    std::chrono::milliseconds(0));
}

std::vector<MemoryRegion> reachable(const AddressSpace& memory, const SlowPath* slow_path) {
    std::vector<MemoryRegion> regions(memory.regions().begin(), memory.regions().end());
    if (slow_path != nullptr) regions.push_back(slow_path->shadow_region());
    return regions;
}

}  // namespace

const char* name_of(PathKind kind) noexcept {
    return kind == PathKind::fast ? "fast" : "slow";
}

DataPath::DataPath(const DataPathSetup& setup)
    : setup_(setup), session_(setup.device, reachable(setup.memory, setup.slow_path)) {}

void DataPath::prepare(std::uint64_t offered) {
    offered_ = offered;
    session_.prepare(offered);
}

bool DataPath::accept_features(std::uint64_t features) {
    features_ = features;
    return session_.accept_features(features);
}

void DataPath::start(PathKind kind, std::span<const virtio::QueueSetup> queues) {
    queues_.assign(queues.begin(), queues.end());
    serve(kind, RingBases(queues.size()));
}

SwitchReport DataPath::move(PathKind to, const SwitchOptions& options) {
    const PathKind from = kind_;
    const bool rested = resting_;
    SwitchReport report{.from = from, .to = to, .in_flight = count_in_flight()};
    Standing standing;
    try {
        standing.config = read_config();
    } catch (const Error& failure) {
        throw PathUnchanged("{}", failure.what());
    }
    const auto start = Clock::now();
    std::optional<VcpusPaused> paused;
    standing.bases = quiet(options, paused);
    report.drain = since(start);
    std::optional<std::string> failure;
    try {
        rewire(to, standing, paused);
    } catch (const std::exception& reason) {
        failure = reason.what();
        if (running_) standing.bases = quiet_again(options, paused, standing.bases);
        rebuild(from, standing, paused, *failure);
    }
    report.blackout = since(start);
    if (rested) rest(options.timeout);
    if (failure) throw PathUnchanged("the {} path could not be built: {}", name_of(to), *failure);
    return report;
}

void DataPath::rebuild(PathKind kind, const Standing& standing, std::optional<VcpusPaused>& paused,
                       const std::string& failure) {
    try {
        rewire(kind, standing, paused);
    } catch (const std::exception& second) {
        throw Error("the other path could not be built ({}), and the {} path not again ({})",
                    failure, name_of(kind), second.what());
    }
}

RingBases DataPath::quiet_again(const SwitchOptions& options, std::optional<VcpusPaused>& paused,
                                const RingBases& before) {
    try {
        return quiet(options, paused);
    } catch (const std::exception& reason) {
        // A path that has done nothing can be taken away as it is.
        for (unsigned queue = 0; queue < queues_.size(); ++queue) {
            if (queues_[queue].enabled &&
                RingIndices(setup_.memory, queues_[queue]).used() != before[queue]) {
                throw Error("a path that was built in part does not come to rest: {}",
                            reason.what());
            }
        }
        return before;
    }
}

RingBases DataPath::quiet(const SwitchOptions& options, std::optional<VcpusPaused>& paused) {
    if (kind_ == PathKind::slow) return drains() ? drain_slow(options) : hold_slow(options);
    // A device that sleeps would hold up the vCPUs from the pause to its reset.
    if (drains() || can_suspend()) setup_.device.wait_for_answer();
    const auto deadline = Clock::now() + options.timeout;
    if (auto bases = suspend_fast(options.timeout)) return *bases;
    if (!drains()) {
        throw PathUnchanged(
            "buffers stay with the device until something arrives for them, and it cannot be "
            "suspended with none in hand");
    }
    return drain_fast(options, deadline, paused);
}

std::optional<RingBases> DataPath::suspend_fast(std::chrono::milliseconds timeout) {
    if (!can_suspend()) return std::nullopt;
    try {
        suspend_device();
        // A stopped machine's device stays suspended: nothing else is left to wait for.
        if (auto bases = suspended_bases(resting_ ? timeout : std::min(timeout, suspended_grace))) {
            return bases;
        }
    } catch (const Error& failure) {
        // As without SUSPEND, then; whether that works shows in the drain.
        log::warning("vDPA device {} did not suspend: {}", setup_.device.name(), failure.what());
    }
    if (suspended_ && !resting_) resume_device();
    return std::nullopt;
}

std::optional<RingBases> DataPath::suspended_bases(std::chrono::milliseconds timeout) const {
    RingBases bases(queues_.size());
    for (unsigned queue = 0; queue < queues_.size(); ++queue) {
        if (!queues_[queue].enabled) continue;
        const auto state = std::get<vdpa::SplitRingState>(setup_.device.ring_state(queue));
        bases[queue] = virtio::RingIndex(state.avail_index);
    }
    const auto handed_back = [&] {
        for (unsigned queue = 0; queue < queues_.size(); ++queue) {
            if (queues_[queue].enabled &&
                RingIndices(setup_.memory, queues_[queue]).used() != bases[queue]) {
                return false;
            }
        }
        return true;
    };
    // What waits for something to arrive is not handed back by itself.
    const auto patience = drains() ? timeout : std::chrono::milliseconds(0);
    return wait_until(handed_back, patience) ? std::optional(bases) : std::nullopt;
}

RingBases DataPath::drain_fast(const SwitchOptions& options, Clock::time_point deadline,
                               std::optional<VcpusPaused>& paused) {
    paused.emplace(setup_.gate);
    if (!wait_until_idle(until(deadline))) give_up(options);
    RingBases bases;
    for (const virtio::QueueSetup& queue : queues_) {
        bases.push_back(queue.enabled ? RingIndices(setup_.memory, queue).avail()
                                      : virtio::RingIndex());
    }
    return bases;
}

RingBases DataPath::drain_slow(const SwitchOptions& options) const {
    SlowPath& relays = *setup_.slow_path;
    relays.order(Order::leave);
    if (relays.wait_for_rest(Clock::now() + std::max(options.timeout, hearing))) {
        return relays.bases();
    }
    relays.order(resting_ ? Order::pause : Order::run);
    give_up(options);
}

RingBases DataPath::hold_slow(const SwitchOptions& options) {
    if (!can_suspend()) {
        throw PathUnchanged(
            "buffers stay with the device until something arrives for them, and it cannot be "
            "suspended");
    }
    SlowPath& relays = *setup_.slow_path;
    try {
        suspend_device();
    } catch (const Error& failure) {
        throw PathUnchanged("{}", failure.what());
    }
    relays.order(Order::hold);
    const bool rested = relays.wait_for_rest(Clock::now() + std::max(options.timeout, hearing));
    if (auto bases = rested ? relays.rewound() : std::nullopt) return *bases;
    if (!resting_) {
        resume_device();
        relays.order(Order::run);
    }
    if (rested) throw PathUnchanged("the device does not use its buffers in their order");
    give_up(options);
}

void DataPath::give_up(const SwitchOptions& options) const {
    const std::string reason = fmt::format("requests are still in flight after {} ms: {}",
                                           options.timeout.count(), count_in_flight());
    if (options.break_on_timeout) throw Error(reason);
    throw PathUnchanged("{}", reason);
}

void DataPath::rewire(PathKind kind, const Standing& standing, std::optional<VcpusPaused>& paused) {
    running_ = false;
    if (setup_.slow_path != nullptr) setup_.slow_path->stop_relays();
    session_.reset();
    // It looks at no ring before it starts again, however long that takes.
    paused.reset();
    suspended_ = false;
    session_.prepare(offered_);
    if (!session_.accept_features(features_)) {
        throw Error("vDPA device {} refuses the features {:#x} that it had accepted",
                    setup_.device.name(), features_);
    }
    if (kind == PathKind::fast) {
        ask_for_kicks(setup_.memory, queues_, standing.bases,
                      (features_ & virtio::feature::event_idx) != 0);
    }
    // Before the first request is served: a write under another cache mode would be less durable
    // than the guest thinks.
    restore_kept_part(standing.config);
    serve(kind, standing.bases);
    notify_both_sides();
    look_for_a_missed_change(standing.config);
}

void DataPath::serve(PathKind kind, const RingBases& bases) {
    const bool fast = kind == PathKind::fast;
    session_.set_up(
        fast ? guest_wiring(queues_, bases, setup_.notifiers) : setup_.slow_path->lay_out(queues_),
        setup_.config_call);
    kind_ = kind;
    resting_ = at_rest_ = false;
    // From here on the guest's rings may be served, whatever is thrown: on the slow path not before
    // the first relay.
    running_ = fast;
    session_.go();
    running_ = true;
    if (!fast) setup_.slow_path->start_relays(queues_, bases, features_);
}

void DataPath::notify_both_sides() const noexcept {
    // One notification too many is legal; one that was lost on the way would never be made up for.
    kick_all_queues();
    for (unsigned queue = 0; queue < queues_.size(); ++queue) {
        if (queues_[queue].enabled) setup_.notifiers[queue].call.signal();
    }
}

std::vector<std::byte> DataPath::read_config() const {
    std::vector<std::byte> config(setup_.device.config_size());
    if (!config.empty()) setup_.device.read_config(0, config);
    return config;
}

void DataPath::look_for_a_missed_change(std::span<const std::byte> config) const {
    // Of a change between two drivers a device tells neither. Who hears of one looks, too, at a
    // device that does not answer.
    try {
        if (std::ranges::equal(read_config(), config)) return;
    } catch (const Error& failure) {
        log::warning("{}", failure.what());
    }
    setup_.config_call.signal();
}

void DataPath::restore_kept_part(std::span<const std::byte> config) {
    if (setup_.personality == nullptr) return;
    const Personality::KeptField& field = setup_.personality->kept;
    const bool negotiated = field.feature != 0 && (features_ & field.feature) == field.feature;
    if (!negotiated || config.size() < std::size_t{field.offset} + field.length) return;
    const auto before = config.subspan(field.offset, field.length);
    std::vector<std::byte> now(field.length);
    setup_.device.read_config(field.offset, now);
    if (!std::ranges::equal(now, before)) setup_.device.write_config(field.offset, before);
}

bool DataPath::rest(std::chrono::milliseconds timeout) {
    if (!running_) return true;
    if (!resting_) at_rest_ = come_to_rest(timeout);
    return at_rest_;
}

bool DataPath::come_to_rest(std::chrono::milliseconds timeout) {
    resting_ = true;
    const auto deadline = Clock::now() + timeout;
    const bool slow = kind_ == PathKind::slow;
    if (slow && drains()) {
        setup_.slow_path->order(Order::pause);
        return setup_.slow_path->wait_for_rest(deadline);
    }
    if (can_suspend()) suspend_device();
    if (slow) {
        // Held, the relays have handed back what the device had used, and write no more.
        setup_.slow_path->order(suspended_ ? Order::hold : Order::pause);
        return !suspended_ || setup_.slow_path->wait_for_rest(deadline);
    }
    if (!drains()) return true;
    return suspended_ ? suspended_bases(timeout).has_value() : wait_until_idle(timeout);
}

void DataPath::go_on() {
    if (!running_ || !resting_) return;
    resting_ = at_rest_ = false;
    if (kind_ == PathKind::slow) setup_.slow_path->order(Order::run);
    if (suspended_) resume_device();
}

bool DataPath::reset(bool stopped, std::chrono::milliseconds timeout) {
    bool rested = true;
    if (running_ && kind_ == PathKind::slow) {
        setup_.slow_path->order(Order::discard);
        rested = stopped || !drains() || setup_.slow_path->wait_for_rest(Clock::now() + timeout);
    } else if (!stopped) {
        // A stop may have given up waiting; whoever resets waits again.
        if (!at_rest_) resting_ = false;
        rested = rest(timeout);
    }
    abandon();
    session_.reset();
    return rested;
}

void DataPath::abandon() noexcept {
    if (setup_.slow_path != nullptr) setup_.slow_path->stop_relays();
    running_ = suspended_ = resting_ = at_rest_ = false;
}

void DataPath::suspend_device() {
    if (suspended_) return;
    setup_.device.suspend();
    suspended_ = true;
}

void DataPath::resume_device() {
    setup_.device.resume();
    suspended_ = false;
    // A kick that came while it was suspended may be lost.
    if (kind_ == PathKind::slow) {
        setup_.slow_path->kick_device();
    } else {
        kick_all_queues();
    }
}

bool DataPath::can_suspend() const {
    return setup_.device.supports_suspend() && setup_.device.supports_resume();
}

bool DataPath::drains() const noexcept {
    return setup_.personality != nullptr && setup_.personality->drains;
}

std::vector<RingIndices> DataPath::rings() const {
    std::vector<RingIndices> rings;
    for (const virtio::QueueSetup& queue : queues_) {
        if (queue.enabled) rings.emplace_back(setup_.memory, queue);
    }
    return rings;
}

bool DataPath::wait_until_idle(std::chrono::milliseconds timeout) const {
    // A vCPU may have been stopped between its avail.idx store and its notify.
    kick_all_queues();
    return datapath::wait_until_idle(rings(), timeout);
}

unsigned DataPath::count_in_flight() const {
    unsigned count = 0;
    for (const RingIndices& ring : rings()) count += ring.avail() - ring.used();
    return count;
}

void DataPath::kick_all_queues() const noexcept {
    for (unsigned queue = 0; queue < queues_.size(); ++queue) {
        if (queues_[queue].enabled) setup_.notifiers[queue].kick.signal();
    }
}

}  // namespace viaduct::datapath
