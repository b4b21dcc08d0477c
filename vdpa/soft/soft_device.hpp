/// The embedded software device: a virtio block device (virtio 1.2, 5.2) over an image, with the
/// interface and the rules of a kernel vDPA device. It needs no privileges, keeps its map over a
/// reset, and can suspend and resume.
///
/// Each enabled queue has an engine, a thread with an io_uring, from DRIVER_OK to reset or disable.
/// While the device is suspended they take nothing, and finish what they took. What changes
/// something that an engine uses (a map, an eventfd, a suspended queue's rings) ends the engines
/// first, which waits for what is in flight, and starts others.
#pragma once

#include <linux/virtio_blk.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address_space.hpp"
#include "base/log_allowance.hpp"
#include "vdpa/device.hpp"
#include "vdpa/soft/image/image.hpp"
#include "vdpa/soft/image/open_image.hpp"
#include "vdpa/soft/in_flight_log.hpp"
#include "vdpa/soft/interrupt.hpp"
#include "vdpa/soft/queue_engine.hpp"

namespace viaduct::soft {

struct SoftDeviceOptions {
    std::string image;  // as open_image() takes it
    bool read_only = false;
    DirectIo direct = DirectIo::automatic;
    std::chrono::seconds reconnect_delay = default_reconnect_delay;
    unsigned queues = 1;             // 1 to 64
    std::uint16_t queue_size = 256;  // at most; a power of two, 4 to 1024
    std::string serial;              // 20 bytes at most
    std::uint32_t block_size = 512;  // bytes; 512 or 4096: what the driver is to count in
    /// Each queue's io_uring has all of the driver's memory pinned while the queue runs, so that
    /// the kernel need not look for pages with each request. What cannot be pinned is not, with a
    /// warning.
    bool pin_memory = false;
    bool suspend = true;  // off: says that it cannot suspend and resume, as VDUSE says
    /// For what the guest does to its rings, which may end in the device being opened anew: with
    /// the same options it goes on with what is left of the allowance. Null: one of its own.
    std::shared_ptr<LogAllowance> log;
    /// One for each queue, with `queue_size` entries: requests outlive this process in them. The
    /// caller's, and outlives the device. Empty: they do not.
    std::span<InFlightEntry> in_flight{};
};

class SoftDevice final : public vdpa::Device {
public:
    /// Opens the image. Throws Error when it cannot serve or the options do not fit.
    explicit SoftDevice(const SoftDeviceOptions& options);
    /// The same over another kind of image; `image`, `read_only`, `direct` and
    /// `reconnect_delay` are not looked at.
    SoftDevice(std::unique_ptr<Image> image, const SoftDeviceOptions& options);
    SoftDevice(const SoftDevice&) = delete;
    SoftDevice& operator=(const SoftDevice&) = delete;
    ~SoftDevice() override;

    [[nodiscard]] const QueueCounters& counters(unsigned queue) const {
        return queues_.at(queue).counters;
    }

    /// Instead of all that is mapped, in one go: what runs pauses once.
    void replace_map(std::span<const MemoryRegion> regions);
    /// Like set_call().
    void set_interrupt(unsigned queue, std::unique_ptr<Interrupt> interrupt);
    /// The next DRIVER_OK takes up rings that a killed process left, with what it had in flight.
    void take_over() noexcept { takes_over_ = true; }
    /// Nothing runs any more until the reset, and the log of what was in flight stays: as if this
    /// process were killed, but for memory and eventfds, which may go now.
    void halt() noexcept { end_engines(QueueEngine::Order::abandon); }
    /// Where the queue stands, while the device runs, too: it is paused for that.
    vdpa::RingState state_of_running(unsigned queue);
    /// The image may have grown: the new capacity in sectors, which is in the configuration space
    /// from now on. Throws Error when it has become smaller.
    std::uint64_t measure_again();

    // vdpa::Device
    [[nodiscard]] const std::string& name() const override { return image_->name(); }
    std::uint32_t device_id() override;
    std::uint64_t features() override { return offered_; }
    unsigned queue_count() override { return static_cast<unsigned>(queues_.size()); }
    std::uint16_t max_queue_size(unsigned queue) override;
    std::uint32_t config_size() override;
    vdpa::IovaRange iova_range() override { return {Iova{0}, Iova{~std::uint64_t{0}}}; }
    bool supports_suspend() override { return suspends_; }
    bool supports_resume() override { return suspends_; }
    bool supports_ring_state() override { return true; }
    void wait_for_answer() override {}
    bool keeps_map_over_reset() override { return true; }

    void set_features(std::uint64_t features) override;
    std::uint8_t status() override;
    void set_status(std::uint8_t status) override;
    void reset() override;

    void read_config(std::uint32_t offset, std::span<std::byte> bytes) override;
    /// No field can be written: dropped.
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override;

    void map(std::span<const MemoryRegion> regions) override;
    void unmap(std::span<const MemoryRegion> regions) override;

    void set_queue_size(unsigned queue, std::uint16_t entries) override;
    void set_ring_addresses(unsigned queue, const vdpa::RingAddresses& addresses) override;
    void set_ring_state(unsigned queue, const vdpa::RingState& state) override;
    vdpa::RingState ring_state(unsigned queue) override;
    void enable_queue(unsigned queue, bool enabled) override;
    void set_kick(unsigned queue, const EventFd& kick) override;
    void set_call(unsigned queue, const EventFd& call) override;
    void set_config_call(const EventFd& call) override;
    std::span<std::byte> doorbell_page(unsigned /*queue*/) override { return {}; }

    void suspend() override;
    void resume() override;

private:
    struct Queue {
        std::uint16_t size = 0;
        vdpa::RingAddresses addresses;
        virtio::RingIndex base;
        bool enabled = false;
        const EventFd* kick = nullptr;
        std::unique_ptr<Interrupt> call;
        std::optional<InFlightLog> in_flight;
        QueueCounters counters;
        std::unique_ptr<QueueEngine> engine;
    };

    void describe_disk(std::uint32_t wanted_block_size);
    void forget_driver() noexcept;
    Queue& queue_at(unsigned queue);
    Queue& stopped_queue_at(unsigned queue, const char* wish);
    [[nodiscard]] bool running() const noexcept;
    void start_engines();
    void start_engine(unsigned queue);
    void end_engines(QueueEngine::Order how) noexcept;
    template <typename Change>
    void change_at_rest(Change&& change);
    void check_config_access(std::uint32_t offset, std::size_t length) const;

    std::unique_ptr<Image> image_;
    std::shared_ptr<LogAllowance> log_;
    std::uint16_t max_queue_size_;
    bool suspends_;
    bool pins_memory_;
    std::uint64_t offered_ = 0;
    BlockTerms terms_;  // with the features that the driver accepted
    virtio_blk_config config_{};
    AddressSpace memory_;
    std::uint8_t status_ = 0;
    bool suspended_ = false;
    bool takes_over_ = false;
    std::atomic<bool> needs_reset_ = false;
    const EventFd* config_call_ = nullptr;
    std::vector<Queue> queues_;
};

}  // namespace viaduct::soft
