/// A vDPA device, as the vhost-vdpa UAPI defines it (linux/vhost.h): the one interface between what
/// stands behind a device (the kernel's /dev/vhost-vdpa-N, or the embedded software device) and all
/// that uses it. Mechanism only: each call is one operation, and the caller knows the order.
///
/// All calls, questions included, come from one thread, the device's control thread, and may block
/// as long as the device takes. No vCPU and no event loop calls in here: those have a
/// virtio::Device, which hands their wishes to the control thread. What crosses threads is the
/// eventfds alone: the device takes kicks and signals calls and the config call on threads of its
/// own, the kernel's or a queue's engine, at any time between set_…() and the reset, while other
/// calls are under way too.
///
/// A call that fails throws viaduct::Error. What a device may lack is a question
/// (`supports_suspend()`), never a guess from an error.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "base/address.hpp"
#include "base/address_space.hpp"
#include "base/event_fd.hpp"

namespace viaduct::vdpa {

/// Where a split ring stands: the next entry of the avail ring that the device will look at. A
/// free-running 16-bit count, not a slot.
struct SplitRingState {
    std::uint16_t avail_index = 0;
    friend bool operator==(SplitRingState, SplitRingState) = default;
};
using RingState = std::variant<SplitRingState>;

struct RingAddresses {
    Iova descriptors;
    Iova avail;
    Iova used;
    friend bool operator==(const RingAddresses&, const RingAddresses&) = default;
};

/// Both ends included.
struct IovaRange {
    Iova first;
    Iova last;
};

class Device {
public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    /// What people call it: its path.
    [[nodiscard]] virtual const std::string& name() const = 0;

    // What it is. Constant while the device is open.
    virtual std::uint32_t device_id() = 0;
    virtual std::uint64_t features() = 0;
    virtual unsigned queue_count() = 0;
    virtual std::uint16_t max_queue_size(unsigned queue) = 0;
    virtual std::uint32_t config_size() = 0;
    virtual IovaRange iova_range() = 0;
    virtual bool supports_suspend() = 0;
    virtual bool supports_resume() = 0;
    /// set_ring_state() takes any state, not just that of a ring that begins: without it the device
    /// cannot take over a ring from another. To be asked while the device is reset.
    virtual bool supports_ring_state() = 0;
    /// The map survives reset() (VHOST_BACKEND_F_IOTLB_PERSIST).
    virtual bool keeps_map_over_reset() = 0;

    // Negotiation.
    virtual void set_features(std::uint64_t features) = 0;
    virtual std::uint8_t status() = 0;
    /// Returns when whoever serves the device has answered: at once, but for a VDUSE daemon, which
    /// may take its time as with every operation. Throws when there will be no answer.
    virtual void wait_for_answer() = 0;
    /// Bits only add up; 0 is reset()'s.
    virtual void set_status(std::uint8_t status) = 0;
    /// Status 0. Forgets rings, features, calls and the config call; keeps kicks.
    virtual void reset() = 0;

    // Configuration space: `offset` and length in bytes, inside config_size().
    virtual void read_config(std::uint32_t offset, std::span<std::byte> bytes) = 0;
    virtual void write_config(std::uint32_t offset, std::span<const std::byte> bytes) = 0;

    /// Makes the regions reachable, in one batch. The memory must be shared and file-backed.
    virtual void map(std::span<const MemoryRegion> regions) = 0;
    virtual void unmap(std::span<const MemoryRegion> regions) = 0;

    // Queues, 0 to queue_count() - 1.
    virtual void set_queue_size(unsigned queue, std::uint16_t entries) = 0;
    virtual void set_ring_addresses(unsigned queue, const RingAddresses& addresses) = 0;
    virtual void set_ring_state(unsigned queue, const RingState& state) = 0;
    /// Only while suspended.
    virtual RingState ring_state(unsigned queue) = 0;
    virtual void enable_queue(unsigned queue, bool enabled) = 0;
    // Eventfds stay the caller's and must live until the device is closed or given another.
    virtual void set_kick(unsigned queue, const EventFd& kick) = 0;
    virtual void set_call(unsigned queue, const EventFd& call) = 0;
    virtual void set_config_call(const EventFd& call) = 0;
    /// The queue's doorbell, one host page to write to; empty when the device has none.
    virtual std::span<std::byte> doorbell_page(unsigned queue) = 0;

    /// When it returns, the device takes nothing more from its rings, and ring_state() tells where
    /// they stand. A disk may finish what it took before all the same: nothing of it is left once
    /// used.idx is there too. Buffers that wait for something to arrive are left alone.
    virtual void suspend() = 0;
    virtual void resume() = 0;
};

}  // namespace viaduct::vdpa
