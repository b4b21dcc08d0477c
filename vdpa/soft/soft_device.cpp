#include "vdpa/soft/soft_device.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::soft {
namespace {

namespace status = virtio::status;
namespace feature = virtio::feature;

constexpr unsigned most_queues = 64;
constexpr std::uint16_t smallest_ring = 4;
constexpr std::uint16_t largest_ring = 1024;
constexpr std::uint32_t largest_block = 4096;

/// Up to and with write zeroes; the fields after it belong to features that are not offered, and
/// differ from one header to the next.
constexpr std::uint32_t config_bytes =
    offsetof(virtio_blk_config, unused1) + sizeof(virtio_blk_config::unused1);
static_assert(config_bytes == 60);

/// Without these two the device does not work (6.1): it refuses FEATURES_OK.
constexpr std::uint64_t indispensable = feature::version_1 | feature::access_platform;

void check(const SoftDeviceOptions& options) {
    if (options.queues == 0 || options.queues > most_queues) {
        throw Error("{} queues were asked for: queues= takes 1 to {}", options.queues, most_queues);
    }
    if (!std::has_single_bit(options.queue_size) || options.queue_size < smallest_ring ||
        options.queue_size > largest_ring) {
        throw Error(
            "a queue of {} entries was asked for: queue-size= takes a power of two from {} "
            "to {}",
            options.queue_size, smallest_ring, largest_ring);
    }
    if (options.block_size != sector_bytes && options.block_size != largest_block) {
        throw Error("blocks of {} bytes were asked for: block-size= takes 512 or 4096",
                    options.block_size);
    }
    if (options.serial.size() > VIRTIO_BLK_ID_BYTES) {
        throw Error("serial '{}' has {} bytes: at most {} fit", options.serial,
                    options.serial.size(), VIRTIO_BLK_ID_BYTES);
    }
}

}  // namespace

SoftDevice::SoftDevice(const SoftDeviceOptions& options)
    : SoftDevice((check(options), open_image({.name = options.image,
                                              .read_only = options.read_only,
                                              .direct = options.direct,
                                              .lanes = options.queues,
                                              .reconnect_delay = options.reconnect_delay})),
                 options) {}

SoftDevice::SoftDevice(std::unique_ptr<Image> image, const SoftDeviceOptions& options)
    : image_(std::move(image)),
      log_(options.log ? options.log
                       : std::make_shared<LogAllowance>(fmt::format("image '{}'", image_->name()))),
      max_queue_size_(options.queue_size),
      suspends_(options.suspend),
      pins_memory_(options.pin_memory),
      queues_(options.queues) {
    check(options);
    std::copy(options.serial.begin(), options.serial.end(), terms_.serial.begin());
    for (unsigned queue = 0; !options.in_flight.empty() && queue < queues_.size(); ++queue) {
        queues_[queue].in_flight.emplace(
            options.in_flight.subspan(std::size_t{queue} * max_queue_size_, max_queue_size_));
    }
    describe_disk(options.block_size);
    forget_driver();
}

SoftDevice::~SoftDevice() {
    end_engines(QueueEngine::Order::abandon);
}

void SoftDevice::describe_disk(std::uint32_t wanted_block_size) {
    const Geometry& geometry = image_->geometry();
    const std::uint32_t block_size = std::max(geometry.logical_block, wanted_block_size);
    if (geometry.size % block_size != 0) {
        throw Error(
            "image '{}' has {} bytes, which is not a multiple of its blocks' {}: fill it up "
            "with `truncate -s {} {}`, or leave block-size= away",
            name(), geometry.size, block_size, (geometry.size / block_size + 1) * block_size,
            name());
    }
    terms_.sectors = geometry.size / sector_bytes;
    terms_.read_only = geometry.read_only;
    offered_ = feature::version_1 | feature::access_platform | feature::event_idx |
               feature::indirect_desc | feature::bit(VIRTIO_BLK_F_SEG_MAX) |
               feature::bit(VIRTIO_BLK_F_BLK_SIZE) | feature::bit(VIRTIO_BLK_F_TOPOLOGY) |
               feature::bit(VIRTIO_BLK_F_FLUSH);
    const std::uint32_t physical = std::max(geometry.physical_block, block_size);
    const std::uint32_t physical_sectors = physical / sector_bytes;
    config_.capacity = terms_.sectors;
    config_.seg_max = std::min<std::uint32_t>(most_segments, max_queue_size_ - 2U);
    // Exponent and size count in these blocks (5.2.4), the rest in sectors of 512 bytes.
    config_.blk_size = block_size;
    config_.physical_block_exp = static_cast<std::uint8_t>(std::countr_zero(physical / block_size));
    config_.min_io_size = static_cast<std::uint16_t>(physical / block_size);
    config_.num_queues = static_cast<std::uint16_t>(queues_.size());
    if (queues_.size() > 1) offered_ |= feature::bit(VIRTIO_BLK_F_MQ);
    if (geometry.read_only) {
        offered_ |= feature::bit(VIRTIO_BLK_F_RO);
        return;
    }
    offered_ |= feature::bit(VIRTIO_BLK_F_DISCARD) | feature::bit(VIRTIO_BLK_F_WRITE_ZEROES);
    config_.max_discard_sectors = most_range_sectors;
    config_.max_discard_seg = most_ranges;
    config_.discard_sector_alignment = physical_sectors;
    config_.max_write_zeroes_sectors = most_range_sectors;
    config_.max_write_zeroes_seg = most_ranges;
    config_.write_zeroes_may_unmap = 1;
}

SoftDevice::Queue& SoftDevice::queue_at(unsigned queue) {
    if (queue < queues_.size()) return queues_[queue];
    throw Error("{}: there is no queue {}, the device has {}", name(), queue, queues_.size());
}

SoftDevice::Queue& SoftDevice::stopped_queue_at(unsigned queue, const char* wish) {
    if (running()) {
        throw Error(
            "{}: {} of queue {} cannot change while the device runs: suspend or reset it "
            "first",
            name(), wish, queue);
    }
    end_engines(QueueEngine::Order::drain);  // of a suspended device
    return queue_at(queue);
}

bool SoftDevice::running() const noexcept {
    return (status_ & status::driver_ok) != 0 && !suspended_;
}

std::uint32_t SoftDevice::device_id() {
    return virtio::device_id::block;
}

std::uint16_t SoftDevice::max_queue_size(unsigned queue) {
    queue_at(queue);
    return max_queue_size_;
}

std::uint32_t SoftDevice::config_size() {
    return config_bytes;
}

void SoftDevice::set_features(std::uint64_t features) {
    if ((status_ & status::features_ok) != 0) {
        throw Error("{}: features cannot change after FEATURES_OK: reset the device first", name());
    }
    if ((features & ~offered_) != 0) {
        throw Error("{}: features {:#x} are not offered, {:#x} are", name(), features & ~offered_,
                    offered_);
    }
    terms_.features = features;
}

std::uint8_t SoftDevice::status() {
    const bool needs_reset = needs_reset_.load(std::memory_order_acquire);
    return static_cast<std::uint8_t>(status_ | (needs_reset ? status::needs_reset : 0));
}

void SoftDevice::set_status(std::uint8_t status) {
    if ((status & status_) != status_) {
        throw Error(
            "{}: status {:#x} was asked for at {:#x}: bits only add up, a reset clears them",
            name(), status, status_);
    }
    const bool start = (status & ~status_ & status::driver_ok) != 0;
    if ((terms_.features & indispensable) != indispensable) {
        // The driver reads back that its choice was refused (3.1.1, step 6).
        status = static_cast<std::uint8_t>(status & ~status::features_ok);
    }
    if (start && (status & status::features_ok) == 0) {
        throw Error(
            "{}: DRIVER_OK without FEATURES_OK: the features {:#x} must be accepted first, "
            "with VERSION_1 and ACCESS_PLATFORM among them",
            name(), terms_.features);
    }
    if (start) start_engines();
    status_ = static_cast<std::uint8_t>(status & ~status::needs_reset);
}

void SoftDevice::reset() {
    end_engines(QueueEngine::Order::abandon);
    for (Queue& queue : queues_) {
        if (queue.in_flight) queue.in_flight->clear();
    }
    takes_over_ = false;
    forget_driver();
}

void SoftDevice::forget_driver() noexcept {
    status_ = 0;
    suspended_ = false;
    needs_reset_.store(false, std::memory_order_release);
    terms_.features = 0;
    config_call_ = nullptr;
    for (Queue& queue : queues_) {
        queue.size = max_queue_size_;
        queue.addresses = {};
        queue.base = {};
        queue.enabled = false;
        queue.call.reset();
    }
}

void SoftDevice::check_config_access(std::uint32_t offset, std::size_t length) const {
    if (offset <= config_bytes && length <= config_bytes - offset) return;
    throw Error("{}: configuration access of {} bytes at {}: there are {}", name(), length, offset,
                config_bytes);
}

void SoftDevice::read_config(std::uint32_t offset, std::span<std::byte> bytes) {
    check_config_access(offset, bytes.size());
    std::memcpy(bytes.data(), std::as_bytes(std::span(&config_, 1)).data() + offset, bytes.size());
}

void SoftDevice::write_config(std::uint32_t offset, std::span<const std::byte> bytes) {
    check_config_access(offset, bytes.size());
}

void SoftDevice::map(std::span<const MemoryRegion> regions) {
    change_at_rest([&] {
        for (const MemoryRegion& region : regions) memory_.map(region);
    });
}

void SoftDevice::unmap(std::span<const MemoryRegion> regions) {
    change_at_rest([&] {
        for (const MemoryRegion& region : regions) memory_.unmap(region.iova);
    });
}

void SoftDevice::replace_map(std::span<const MemoryRegion> regions) {
    AddressSpace fresh;  // before anything changes: it may refuse
    for (const MemoryRegion& region : regions) fresh.map(region);
    change_at_rest([&] { memory_ = std::move(fresh); });
}

void SoftDevice::set_queue_size(unsigned queue, std::uint16_t entries) {
    Queue& target = stopped_queue_at(queue, "the size");
    if (!std::has_single_bit(entries) || entries > max_queue_size_) {
        throw Error("{}: queue {} cannot have {} entries: a power of two up to {} is needed",
                    name(), queue, entries, max_queue_size_);
    }
    target.size = entries;
}

void SoftDevice::set_ring_addresses(unsigned queue, const vdpa::RingAddresses& addresses) {
    stopped_queue_at(queue, "the addresses").addresses = addresses;
}

void SoftDevice::set_ring_state(unsigned queue, const vdpa::RingState& state) {
    stopped_queue_at(queue, "the state").base =
        virtio::RingIndex(std::get<vdpa::SplitRingState>(state).avail_index);
}

vdpa::RingState SoftDevice::ring_state(unsigned queue) {
    if (!suspended_) {
        throw Error("{}: where queue {} stands is known only while the device is suspended", name(),
                    queue);
    }
    return vdpa::SplitRingState{queue_at(queue).base.value()};
}

void SoftDevice::enable_queue(unsigned queue, bool enabled) {
    Queue& target = queue_at(queue);
    if (target.enabled == enabled) return;
    change_at_rest([&] { target.enabled = enabled; });
}

void SoftDevice::set_kick(unsigned queue, const EventFd& kick) {
    Queue& target = queue_at(queue);
    change_at_rest([&] { target.kick = &kick; });
}

void SoftDevice::set_call(unsigned queue, const EventFd& call) {
    Queue& target = queue_at(queue);
    change_at_rest([&] { target.call = std::make_unique<EventFdInterrupt>(call); });
}

void SoftDevice::set_interrupt(unsigned queue, std::unique_ptr<Interrupt> interrupt) {
    Queue& target = queue_at(queue);
    change_at_rest([&] { target.call = std::move(interrupt); });
}

vdpa::RingState SoftDevice::state_of_running(unsigned queue) {
    Queue& target = queue_at(queue);
    if (target.engine) {
        target.engine->order(QueueEngine::Order::pause);
        target.engine->wait_until_paused();
        target.base = target.engine->next_avail();
        if (running()) target.engine->order(QueueEngine::Order::run);
    }
    return vdpa::SplitRingState{target.base.value()};
}

std::uint64_t SoftDevice::measure_again() {
    const std::uint64_t size = image_->measure_again();
    if (size / sector_bytes < terms_.sectors) {
        throw Error("image '{}' has {} bytes, and the disk {}: a disk does not become smaller",
                    name(), size, terms_.sectors * sector_bytes);
    }
    change_at_rest([&] {
        terms_.sectors = size / config_.blk_size * (config_.blk_size / sector_bytes);
        config_.capacity = terms_.sectors;
    });
    return terms_.sectors;
}

void SoftDevice::set_config_call(const EventFd& call) {
    change_at_rest([&] { config_call_ = &call; });
}

void SoftDevice::suspend() {
    if (!suspends_) throw Error("{}: suspend=off: the device cannot suspend", name());
    for (const Queue& queue : queues_) {
        if (queue.engine) queue.engine->order(QueueEngine::Order::pause);
    }
    for (Queue& queue : queues_) {
        if (!queue.engine) continue;
        queue.engine->wait_until_paused();
        queue.base = queue.engine->next_avail();
    }
    suspended_ = true;
}

void SoftDevice::resume() {
    if (!suspended_) throw Error("{}: resume without suspend", name());
    if ((status_ & status::driver_ok) != 0) start_engines();
    suspended_ = false;
}

template <typename Change>
void SoftDevice::change_at_rest(Change&& change) {
    end_engines(QueueEngine::Order::drain);
    change();
    if (running()) start_engines();
}

void SoftDevice::start_engines() {
    try {
        for (unsigned queue = 0; queue < queues_.size(); ++queue) {
            Queue& target = queues_[queue];
            if (target.engine) {
                target.engine->order(QueueEngine::Order::run);
            } else if (target.enabled) {
                start_engine(queue);
            }
        }
        takes_over_ = false;
    } catch (...) {
        end_engines(QueueEngine::Order::drain);
        throw;
    }
}

void SoftDevice::start_engine(unsigned index) {
    Queue& queue = queues_[index];
    const auto& [descriptors, avail, used] = queue.addresses;
    const auto ring =
        virtio::SplitRing::find(memory_, {queue.size, descriptors, avail, used, true});
    const std::string engine_name = fmt::format("image '{}', queue {}", name(), index);
    if (!ring) {
        // The guest's doing: told to the guest, as a fault in the ring later would be.
        log_->warning(
            "{}: its rings do not lie in memory, or not aligned: the queue does not start",
            engine_name);
        needs_reset_.store(true, std::memory_order_release);
        if (config_call_ != nullptr) config_call_->signal();
        return;
    }
    queue.engine = std::make_unique<QueueEngine>(
        EngineSetup{.name = engine_name,
                    .memory = memory_,
                    .ring = *ring,
                    .event_idx = (terms_.features & feature::event_idx) != 0,
                    .indirect = (terms_.features & feature::indirect_desc) != 0,
                    .base = queue.base,
                    .terms = terms_,
                    .pin_memory = pins_memory_,
                    .kick = queue.kick,
                    .call = queue.call.get(),
                    .config_call = config_call_,
                    .needs_reset = needs_reset_,
                    .counters = queue.counters,
                    .log = *log_,
                    .in_flight = queue.in_flight ? &*queue.in_flight : nullptr,
                    .takes_over = takes_over_ && queue.in_flight.has_value()},
        *image_);
}

void SoftDevice::end_engines(QueueEngine::Order how) noexcept {
    for (const Queue& queue : queues_) {
        if (queue.engine) queue.engine->order(how);
    }
    for (Queue& queue : queues_) {
        if (!queue.engine) continue;
        queue.engine->wait();
        queue.base = queue.engine->next_avail();
        queue.engine.reset();
    }
}

}  // namespace viaduct::soft
