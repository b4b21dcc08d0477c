#include "vdpa/datapath/drain.hpp"

#include <linux/virtio_ring.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace viaduct::datapath {
namespace {

/// flags and idx stand before the entries of both rings; one 16-bit event index follows them.
constexpr std::uint64_t ring_overhead = 3 * sizeof(std::uint16_t);

std::uint16_t* index_at(const AddressSpace& memory, Iova ring) noexcept {
    // idx follows flags in both rings (struct vring_avail, struct vring_used); 2-aligned as the
    // ring.
    return reinterpret_cast<std::uint16_t*>(
        memory.find(ring + sizeof(std::uint16_t), sizeof(std::uint16_t)).data());
}

bool in_memory(const AddressSpace& memory, Iova address, std::uint64_t bytes,
               std::uint64_t alignment) noexcept {
    return address.value % alignment == 0 && !memory.find(address, bytes).empty();
}

}  // namespace

RingIndices::RingIndices(const AddressSpace& memory, const virtio::QueueSetup& queue) noexcept
    : avail_index_(index_at(memory, queue.driver_area)),
      used_index_(index_at(memory, queue.device_area)) {}

bool RingIndices::idle() const noexcept {
    return used() == avail();
}

virtio::RingIndex RingIndices::avail() const noexcept {
    return virtio::RingIndex(std::atomic_ref(*avail_index_).load(std::memory_order_acquire));
}

virtio::RingIndex RingIndices::used() const noexcept {
    // acquire: what the device wrote for the requests it says are done is visible too.
    return virtio::RingIndex(std::atomic_ref(*used_index_).load(std::memory_order_acquire));
}

bool wait_until(const std::function<bool()>& idle, std::chrono::milliseconds timeout) {
    using Clock = std::chrono::steady_clock;
    constexpr auto longest_nap = std::chrono::microseconds(1000);
    const auto deadline = Clock::now() + timeout;
    auto nap = std::chrono::microseconds(20);
    while (!idle()) {
        if (Clock::now() >= deadline) return false;
        std::this_thread::sleep_for(nap);
        nap = std::min(2 * nap, longest_nap);
    }
    return true;
}

bool wait_until_idle(std::span<const RingIndices> rings, std::chrono::milliseconds timeout) {
    return wait_until(
        [rings] {
            return std::all_of(rings.begin(), rings.end(),
                               [](const RingIndices& ring) { return ring.idle(); });
        },
        timeout);
}

bool rings_in_memory(const AddressSpace& memory, const virtio::QueueSetup& queue) noexcept {
    const std::uint64_t size = queue.size;
    return in_memory(memory, queue.descriptors, size * sizeof(vring_desc), VRING_DESC_ALIGN_SIZE) &&
           in_memory(memory, queue.driver_area, ring_overhead + size * sizeof(std::uint16_t),
                     VRING_AVAIL_ALIGN_SIZE) &&
           in_memory(memory, queue.device_area, ring_overhead + size * sizeof(vring_used_elem),
                     VRING_USED_ALIGN_SIZE);
}

}  // namespace viaduct::datapath
