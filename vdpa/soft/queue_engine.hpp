/// The engine of one queue: a thread that takes requests from the ring, has them done by the image,
/// and hands them back. It sleeps in one place, in its io_uring, for completions, kicks and the
/// word to stop alike. Nothing is copied: the kernel reads and writes guest memory. After the start
/// nothing is allocated, locked or logged per request.
///
/// An engine lives from its queue's start to its end and does not come back; the next one goes on
/// from next_avail(). In between it can pause: it takes nothing, and finishes what it took.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_fd.hpp"
#include "base/io_uring.hpp"
#include "base/log_allowance.hpp"
#include "base/thread.hpp"
#include "devices/virtio/split_ring_chain.hpp"
#include "devices/virtio/split_ring_device_view.hpp"
#include "vdpa/soft/block_request.hpp"
#include "vdpa/soft/image/image.hpp"
#include "vdpa/soft/in_flight_log.hpp"
#include "vdpa/soft/interrupt.hpp"

namespace viaduct::soft {

/// What a queue has done since its device was opened; written by its engine only.
struct QueueCounters {
    std::atomic<std::uint64_t> requests = 0;     // taken
    std::atomic<std::uint64_t> failed = 0;       // of those, answered with an error
    std::atomic<std::uint64_t> kicks = 0;        // received
    std::atomic<std::uint64_t> calls = 0;        // sent
    std::atomic<std::uint64_t> ring_faults = 0;  // stops because the ring made no sense
};

struct EngineSetup {
    std::string name;  // for the log
    const AddressSpace& memory;
    virtio::SplitRing ring;
    bool event_idx = false;
    bool indirect = false;
    virtio::RingIndex base;
    BlockTerms terms;
    bool pin_memory = false;  // see SoftDeviceOptions
    // The caller's, and outlive the engine; null when there is none.
    const EventFd* kick = nullptr;
    const Interrupt* call = nullptr;
    const EventFd* config_call = nullptr;
    std::atomic<bool>& needs_reset;
    QueueCounters& counters;
    LogAllowance& log;
    InFlightLog* in_flight = nullptr;  // the caller's; null: what is in flight dies with us
    /// The ring is one that a killed engine left: `base` is not looked at, used.idx and the log
    /// say where it stands, and what is unfinished is done first.
    bool takes_over = false;
};

class QueueEngine {
public:
    /// Starts the thread. Throws Error when there is no io_uring or no thread to be had.
    QueueEngine(EngineSetup setup, Image& image);
    QueueEngine(const QueueEngine&) = delete;
    QueueEngine& operator=(const QueueEngine&) = delete;
    /// Abandons what is in flight, unless it was told otherwise before.
    ~QueueEngine();

    enum class Order : std::uint8_t {
        run,
        pause,    // take no more for now; what was taken is completed all the same
        drain,    // complete what was taken, take no more, end
        abandon,  // cancel what can be cancelled, tell the driver nothing more, end
    };
    /// All from one thread, and nothing after one that ends the engine.
    void order(Order order) noexcept;
    /// After pause: waits until nothing more is taken. As long as it takes to hand a request to
    /// the kernel, whatever is in flight.
    void wait_until_paused() const noexcept;
    /// After drain or abandon: when it returns, nothing touches guest memory. Not longer than the
    /// I/O under way takes.
    void wait() noexcept;
    /// After either wait: where the next engine goes on.
    [[nodiscard]] virtio::RingIndex next_avail() const noexcept { return view_.next_avail(); }

private:
    void run() noexcept;
    [[nodiscard]] bool pin_memory();

    [[nodiscard]] Order ordered() const noexcept { return order_.load(std::memory_order_acquire); }
    [[nodiscard]] bool ends() const noexcept { return ordered() >= Order::drain; }
    [[nodiscard]] bool takes() const noexcept { return !broken_ && ordered() == Order::run; }
    void report_pause() noexcept;
    void arm(const EventFd& event, std::uint64_t tag) noexcept;
    void watch_kick() noexcept;
    void on_kick(const io_uring_cqe& completion) noexcept;
    void cancel_all() noexcept;

    static std::vector<std::uint16_t> left_behind(const EngineSetup& setup);
    static virtio::SplitRingDeviceView view_of(const EngineSetup& setup,
                                               std::size_t taken_before) noexcept;
    void take_left_behind() noexcept;
    void take_available() noexcept;
    [[nodiscard]] std::optional<virtio::RingFault> take(std::uint16_t head) noexcept;
    void break_down(virtio::RingFault fault) noexcept;

    void sleep() noexcept;
    void on_completion(const io_uring_cqe& completion) noexcept;
    void take_reported() noexcept;
    void on_outcome(BlockRequest& request, int outcome) noexcept;
    void finish(BlockRequest& request, std::uint8_t status) noexcept;
    void publish() noexcept;
    void interrupt() noexcept;

    EngineSetup setup_;
    IoUring ring_;
    std::unique_ptr<Lane> lane_;
    bool pinned_;                             // the driver's memory is in the ring's table
    std::vector<std::uint16_t> left_behind_;  // heads that a killed engine took
    virtio::SplitRingDeviceView view_;
    virtio::ChainReader chains_;
    BlockProtocol protocol_;
    std::vector<BlockRequest> requests_;                         // by head
    std::unique_ptr<iovec[]> segments_;                          // most_segments for each
    std::unique_ptr<virtio_blk_discard_write_zeroes[]> ranges_;  // most_ranges for each
    unsigned in_flight_ = 0;
    bool broken_ = false;
    bool kick_armed_ = false;
    bool cancelled_ = false;

    std::atomic<Order> order_ = Order::run;
    std::atomic<bool> paused_ = false;
    EventFd order_event_;
    Thread thread_;  // last: uses all of the above
};

}  // namespace viaduct::soft
