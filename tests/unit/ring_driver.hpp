/// The driver's side of a split ring, as small as a test needs it (virtio 1.2, 2.7.13): guest
/// memory in a memfd, real rings in it, real eventfds. Chains can be posted properly, or descriptor
/// by descriptor with whatever nonsense a test wants a device to meet.
#pragma once

#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "base/address_space.hpp"
#include "base/error.hpp"
#include "base/event_fd.hpp"
#include "base/mapping.hpp"
#include "devices/virtio/split_ring.hpp"
#include "vdpa/device.hpp"

namespace viaduct::test {

/// Guest memory with an allocator that never frees. Several queues' threads may allocate.
class GuestMemory {
public:
    explicit GuestMemory(std::size_t size = std::size_t{16} << 20, Iova base = Iova{1 << 20})
        : fd_(::memfd_create("guest memory", MFD_CLOEXEC)), base_(base) {
        if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
            throw SystemError("memfd");
        }
        mapping_ = Mapping("guest memory", size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get());
        space_.map(region());
    }

    [[nodiscard]] MemoryRegion region() const { return {base_, mapping_.bytes()}; }
    /// The file behind it, from its beginning.
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const AddressSpace& space() const { return space_; }
    [[nodiscard]] Iova end() const { return base_ + mapping_.size(); }

    [[nodiscard]] Iova allocate(std::size_t bytes, std::size_t alignment = 4096) {
        const std::lock_guard lock(mutex_);
        next_ = (next_ + alignment - 1) / alignment * alignment;
        const Iova at = base_ + next_;
        next_ += bytes;
        if (next_ > mapping_.size()) throw std::runtime_error("the test's guest memory is full");
        return at;
    }
    [[nodiscard]] std::span<std::byte> at(Iova iova, std::size_t length) const {
        return space_.find(iova, length);
    }
    template <typename T>
    void store(Iova iova, const T& value) const {
        std::memcpy(at(iova, sizeof value).data(), &value, sizeof value);
    }
    template <typename T>
    [[nodiscard]] T load(Iova iova) const {
        T value;
        std::memcpy(&value, at(iova, sizeof value).data(), sizeof value);
        return value;
    }

private:
    Fd fd_;
    Mapping mapping_;
    AddressSpace space_;
    Iova base_;
    std::mutex mutex_;
    std::size_t next_ = 0;  // guarded by mutex_
};

struct Buffer {
    Iova address;
    std::uint32_t length = 0;
    bool writable = false;
};

class RingDriver {
public:
    RingDriver(GuestMemory& memory, std::uint16_t size, bool event_idx = true)
        : memory_(memory), event_idx_(event_idx), chains_(size) {
        using virtio::SplitRing;
        setup_ = {size, memory.allocate(SplitRing::descriptor_table_bytes(size)),
                  memory.allocate(SplitRing::avail_bytes(size)),
                  memory.allocate(SplitRing::used_bytes(size)), true};
        for (std::uint16_t slot = size; slot > 0; --slot) {
            free_.push_back(static_cast<std::uint16_t>(slot - 1));
        }
        ring_ = SplitRing::find(memory.space(), setup_);
    }

    [[nodiscard]] const virtio::QueueSetup& setup() const { return setup_; }
    [[nodiscard]] vdpa::RingAddresses addresses() const {
        return {setup_.descriptors, setup_.driver_area, setup_.device_area};
    }
    [[nodiscard]] const virtio::SplitRing& ring() const { return *ring_; }
    [[nodiscard]] const EventFd& kick_event() const { return kick_; }
    [[nodiscard]] const EventFd& call_event() const { return call_; }
    [[nodiscard]] std::size_t free_descriptors() const { return free_.size(); }
    [[nodiscard]] std::size_t outstanding() const {
        return static_cast<std::size_t>(next_avail_ - next_used_);
    }

    /// As if the ring had already seen so much use.
    void start_at(virtio::RingIndex index) {
        next_avail_ = published_ = next_used_ = index;
        ring_->avail_idx().store(index.value());
        ring_->used_idx().store(index.value());
        ring_->used_event().store(index.value());
    }

    /// After a reset of the device: what was outstanding will not come back.
    void forget_outstanding() {
        for (auto& slots : chains_) {
            free_.insert(free_.end(), slots.rbegin(), slots.rend());
            slots.clear();
        }
    }

    void set_descriptor(std::uint16_t slot, const virtio::Descriptor& descriptor) {
        memory_.store(setup_.descriptors + slot * sizeof descriptor, descriptor);
    }

    /// Posts a chain of descriptors; publish() makes it available.
    std::uint16_t add(std::span<const Buffer> buffers) {
        std::vector<std::uint16_t> slots;
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            slots.push_back(free_.back());
            free_.pop_back();
        }
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const bool last = i + 1 == buffers.size();
            set_descriptor(slots[i], as_descriptor(buffers[i], last ? 0 : slots[i + 1], last));
        }
        chains_[slots[0]] = slots;
        put_available(slots[0]);
        return slots[0];
    }

    /// Posts the same chain in an indirect table of its own.
    std::uint16_t add_indirect(std::span<const Buffer> buffers) {
        return add_indirect(buffers,
                            memory_.allocate(buffers.size() * sizeof(virtio::Descriptor), 16));
    }
    std::uint16_t add_indirect(std::span<const Buffer> buffers, Iova table) {
        const std::size_t bytes = buffers.size() * sizeof(virtio::Descriptor);
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const bool last = i + 1 == buffers.size();
            memory_.store(table + i * sizeof(virtio::Descriptor),
                          as_descriptor(buffers[i], static_cast<std::uint16_t>(i + 1), last));
        }
        const std::uint16_t slot = free_.back();
        free_.pop_back();
        set_descriptor(
            slot, {table, static_cast<std::uint32_t>(bytes), virtio::descriptor_flag::indirect, 0});
        chains_[slot] = {slot};
        put_available(slot);
        return slot;
    }

    /// Any value, whether it names a chain or not.
    void put_available(std::uint16_t head) {
        ring_->avail_entry(next_avail_).store(head, std::memory_order_relaxed);
        ++next_avail_;
    }

    /// True when the device wants a kick for it.
    bool publish() {
        const virtio::RingIndex before = published_;
        published_ = next_avail_;
        ring_->avail_idx().store(published_.value(), std::memory_order_seq_cst);
        if (event_idx_) {
            const virtio::RingIndex event(ring_->avail_event().load(std::memory_order_seq_cst));
            return virtio::passed_event(event, before, published_);
        }
        return (ring_->used_flags().load(std::memory_order_seq_cst) &
                virtio::ring_flag::no_notify) == 0;
    }
    /// The device sleeps, or is about to, and wants a kick for the next request.
    [[nodiscard]] bool kick_is_wanted() const {
        return event_idx_ ? ring_->avail_event().load() == published_.value()
                          : (ring_->used_flags().load() & virtio::ring_flag::no_notify) == 0;
    }
    void kick() const { kick_.signal(); }
    /// As a real driver does it: a kick only when one is wanted.
    bool publish_and_kick() {
        const bool wanted = publish();
        if (wanted) kick();
        return wanted;
    }

    std::optional<virtio::UsedElement> take_used() {
        const virtio::RingIndex used(ring_->used_idx().load(std::memory_order_acquire));
        if (used == next_used_) return std::nullopt;
        const virtio::UsedElement element = ring_->used_entry(next_used_);
        ++next_used_;
        if (element.id < chains_.size()) {
            auto& slots = chains_[element.id];
            free_.insert(free_.end(), slots.rbegin(), slots.rend());
            slots.clear();
        }
        return element;
    }

    void suppress_interrupts() {
        if (!event_idx_) {
            ring_->avail_flags().store(virtio::ring_flag::no_interrupt, std::memory_order_relaxed);
        }
    }
    /// True when something was used in the meantime.
    bool request_interrupts() {
        if (event_idx_) {
            ring_->used_event().store(next_used_.value(), std::memory_order_seq_cst);
        } else {
            ring_->avail_flags().store(0, std::memory_order_seq_cst);
        }
        return ring_->used_idx().load(std::memory_order_seq_cst) != next_used_.value();
    }

    /// Sleeps until the device calls; nothing after `limit`. A notification that is lost shows
    /// here.
    std::optional<virtio::UsedElement> wait_used(
        std::chrono::milliseconds limit = std::chrono::seconds(10)) {
        while (true) {
            if (auto element = take_used()) return element;
            if (request_interrupts()) continue;
            pollfd poll{call_.fd(), POLLIN, 0};
            if (::poll(&poll, 1, static_cast<int>(limit.count())) != 1) return std::nullopt;
            (void)call_.take();
        }
    }

private:
    static virtio::Descriptor as_descriptor(const Buffer& buffer, std::uint16_t next, bool last) {
        const unsigned flags = (last ? 0U : virtio::descriptor_flag::next) |
                               (buffer.writable ? virtio::descriptor_flag::write : 0U);
        return {buffer.address, buffer.length, static_cast<std::uint16_t>(flags),
                last ? std::uint16_t{0} : next};
    }

    GuestMemory& memory_;
    bool event_idx_;
    virtio::QueueSetup setup_;
    std::optional<virtio::SplitRing> ring_;
    std::vector<std::uint16_t> free_;
    std::vector<std::vector<std::uint16_t>> chains_;  // descriptors, by head
    virtio::RingIndex next_avail_;
    virtio::RingIndex published_;
    virtio::RingIndex next_used_;
    EventFd kick_;
    EventFd call_;
};

}  // namespace viaduct::test
