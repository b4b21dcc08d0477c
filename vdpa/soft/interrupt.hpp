/// How an engine tells the driver that something happened (a used buffer notification, virtio 1.2,
/// 2.7.7.2): an eventfd in this process, an ioctl where the driver is behind the kernel.
#pragma once

#include "base/event_fd.hpp"

namespace viaduct::soft {

class Interrupt {
public:
    Interrupt() = default;
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;
    virtual ~Interrupt() = default;

    /// From the queue's engine, at most once for a batch of used buffers.
    virtual void raise() const noexcept = 0;
};

/// The eventfd stays the caller's and outlives this.
class EventFdInterrupt final : public Interrupt {
public:
    explicit EventFdInterrupt(const EventFd& event) noexcept : event_(event) {}
    void raise() const noexcept override { event_.signal(); }

private:
    const EventFd& event_;
};

}  // namespace viaduct::soft
