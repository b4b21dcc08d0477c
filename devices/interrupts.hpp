/// The two ways in which a device interrupts, as the devices need them; the hypervisor implements
/// them (irqfds and routes under KVM), tests record them.
#pragma once

#include <cstdint>
#include <memory>

#include "base/event_fd.hpp"

namespace viaduct::devices {

/// A level-triggered input of the interrupt controller. Safe to call from any thread.
class InterruptLine {
public:
    virtual ~InterruptLine() = default;
    virtual void set(bool asserted) noexcept = 0;
};

/// A message-signalled interrupt: a write of `data` to `address` (PCI 3.0, 6.8.2).
struct MsiMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// One vector's way to the CPUs. Removed from the interrupt controller with its owner.
class MsiRoute {
public:
    virtual ~MsiRoute() = default;
    /// From here on the vector sends this message.
    virtual void update(const MsiMessage& message) = 0;
    /// Each signal on `source` sends the message without the VMM (irqfd). One that was pending is
    /// sent at once. Several sources may share a vector.
    virtual void attach(const EventFd& source) = 0;
    /// When it returns, signals on `source` stay in it and send nothing.
    virtual void detach(const EventFd& source) = 0;
    /// Sends the message once, from the VMM.
    virtual void signal() noexcept = 0;
};

/// Makes routes. `bdf` is the function's bus/device/function as the interrupt controller wants to
/// know it (the ITS device id on arm64; x86 ignores it).
class MsiRouter {
public:
    virtual ~MsiRouter() = default;
    virtual std::unique_ptr<MsiRoute> route(std::uint16_t bdf) = 0;
};

}  // namespace viaduct::devices
