/// The other ends of eventfds and rings for measuring: who waits as the relay does, edge-triggered
/// and without reading, and a device that hands back at once what it is given.
#pragma once

#include <atomic>
#include <functional>

#include "base/event_fd.hpp"
#include "base/fd.hpp"
#include "base/thread.hpp"
#include "devices/virtio/split_ring_device_view.hpp"

namespace viaduct::bench {

/// Sleeps until an eventfd is signalled.
class EdgeWait {
public:
    explicit EdgeWait(const EventFd& event);
    void wait() const noexcept;

private:
    Fd epoll_;
};

/// A thread that does `work` whenever its eventfd is signalled.
class Woken {
public:
    explicit Woken(std::function<void()> work);
    Woken(const Woken&) = delete;
    Woken& operator=(const Woken&) = delete;
    ~Woken();

    [[nodiscard]] const EventFd& event() const noexcept { return event_; }

private:
    EventFd event_;
    EdgeWait wait_;
    std::atomic<bool> ends_ = false;
    Thread thread_;  // last: uses all of the above
};

/// Uses each chain with a length of `written`, and asks for kicks as EVENT_IDX has it.
class EchoDevice {
public:
    EchoDevice(const virtio::SplitRing& ring, const EventFd& call, std::uint32_t written);

    [[nodiscard]] const EventFd& kick() const noexcept { return woken_.event(); }

private:
    void serve() noexcept;

    virtio::SplitRingDeviceView ring_;
    const EventFd& call_;
    std::uint32_t written_;
    Woken woken_;  // last: uses all of the above
};

}  // namespace viaduct::bench
