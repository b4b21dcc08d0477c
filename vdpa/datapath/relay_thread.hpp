/// The thread of one queue's relay: sleeps until either side notifies, or looks by itself for a
/// while after work was done ("adaptive polling": the while grows when looking would have caught
/// what came, and shrinks when it was in vain). It owns the relay; others tell it how to go on, and
/// wait until it has come to rest.
///
/// The guest's kicks and the device's calls are waited for edge-triggered and never read: a wake
/// costs one system call, and a count that is left behind is one spurious notification for whoever
/// takes the eventfd next.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/event_fd.hpp"
#include "base/fd.hpp"
#include "base/thread.hpp"
#include "vdpa/datapath/relay.hpp"

namespace viaduct::datapath {

struct RelayThreadSetup {
    std::string name;  // whose relay it is, for errors
    // The caller's, and outlive the thread.
    const EventFd& guest_kick;
    const EventFd& device_call;
    std::chrono::microseconds longest_poll{0};  // 0: never polls
    // Called on the relay's thread, each once, when the ring of that side made no sense.
    std::function<void(virtio::RingFault)> on_guest_fault;
    std::function<void(DeviceFault)> on_device_fault;
};

class RelayThread {
public:
    using Clock = Relay::Clock;

    /// Takes over and starts.
    RelayThread(const RelaySetup& relay, RelayThreadSetup setup);
    RelayThread(const RelayThread&) = delete;
    RelayThread& operator=(const RelayThread&) = delete;
    /// Ends at once; what is in flight is nobody's any more.
    ~RelayThread();

    enum class Order : std::uint8_t {
        run,
        pause,    // take no more; what the throttle holds stays there
        leave,    // take no more; what the throttle holds goes to the device at once
        discard,  // take no more; what the throttle holds is forgotten
        hold,     // as leave, and the device is suspended: it hands back nothing more
        end,
    };
    /// From any thread but the relay's own.
    void order(Order order);
    /// After pause, leave or discard: waits until nothing is in flight; after hold: until what the
    /// device has used is handed back. False at the deadline.
    bool wait_for_rest(Clock::time_point deadline);

    /// While at rest.
    [[nodiscard]] virtio::RingIndex next_avail() const noexcept { return relay_.next_avail(); }
    /// At rest after hold: see Relay.
    [[nodiscard]] std::optional<virtio::RingIndex> rewound() const noexcept {
        return relay_.rewound();
    }

private:
    /// The throttle knows what to wake for as long as this lives.
    class KnownToThrottle {
    public:
        KnownToThrottle(ThrottleMember* throttle, const EventFd& wake) noexcept
            : throttle_(throttle) {
            if (throttle_ != nullptr) throttle_->set_wake(&wake);
        }
        KnownToThrottle(const KnownToThrottle&) = delete;
        KnownToThrottle& operator=(const KnownToThrottle&) = delete;
        ~KnownToThrottle() {
            if (throttle_ == nullptr) return;
            throttle_->withdraw();
            throttle_->set_wake(nullptr);
        }

    private:
        ThrottleMember* throttle_;
    };

    void run() noexcept;
    void obey(Clock::time_point now) noexcept;
    void report_rest() noexcept;
    void report_faults() noexcept;
    /// From `before`, which is now, until the time that it returns: a request on its way pays for
    /// each look at the clock.
    Clock::time_point sleep(Clock::time_point before) noexcept;
    [[nodiscard]] bool looks_again(bool moved, Clock::time_point now) noexcept;
    void adapt_poll(Clock::duration slept) noexcept;

    Relay relay_;
    RelayThreadSetup setup_;
    QueueStatistics& statistics_;
    EventFd wake_;
    KnownToThrottle known_to_throttle_;
    Fd epoll_;

    // The thread's own.
    Order obeyed_ = Order::run;
    bool guest_fault_reported_ = false;
    bool device_fault_reported_ = false;
    bool kicked_ = false;  // woken by the guest's kick
    Clock::duration poll_{0};
    Clock::time_point poll_until_;

    std::mutex mutex_;
    std::condition_variable rested_changed_;
    bool rested_ = false;  // guarded by mutex_
    std::atomic<Order> order_ = Order::run;

    Thread thread_;  // last: uses all of the above
};

}  // namespace viaduct::datapath
