#include "tests/support/fake_vdpa_parent.hpp"

#include <linux/virtio_ring.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace viaduct::test {
namespace {

constexpr std::size_t index_offset = 2;  // idx follows flags in both rings
constexpr std::size_t entries_offset = 4;

bool signal(const Fd& fd) {
    const std::uint64_t one = 1;
    return fd && ::write(fd.get(), &one, sizeof one) == sizeof one;
}

bool take(const Fd& fd) {
    std::uint64_t count = 0;
    return fd && ::read(fd.get(), &count, sizeof count) == sizeof count;
}

std::atomic_ref<std::uint16_t> index_of(std::byte* ring) {
    // Aligned as the ring is, to 2 at least.
    return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(ring + index_offset));
}

/// The last flag of /proc/self/maps: 's' for a shared mapping.
bool is_shared(std::uint64_t address) {
    std::ifstream maps("/proc/self/maps");
    std::string line;
    while (std::getline(maps, line)) {
        std::istringstream fields(line);
        std::uint64_t first = 0;
        std::uint64_t end = 0;
        char dash = 0;
        std::string flags;
        fields >> std::hex >> first >> dash >> end >> flags;
        if (address >= first && address < end) return flags.ends_with('s');
    }
    return false;
}

}  // namespace

void FakeVdpaParent::start() {
    running = true;
    for (Queue& queue : queues) queue.alive = queue.ready;
}

void FakeVdpaParent::reset(bool keep_map) {
    running = false;
    suspended = false;
    config_call.reset();
    if (!keep_map) map_.clear();
    for (Queue& queue : queues) {
        Fd kick = std::move(queue.kick);
        queue = {};
        queue.kick = std::move(kick);
    }
}

void FakeVdpaParent::set_map(const std::vector<Entry>& entries) {
    map_.clear();
    std::copy_if(entries.begin(), entries.end(), std::back_inserter(map_),
                 [](const Entry& entry) { return is_shared(entry.address); });
}

std::byte* FakeVdpaParent::reach(std::uint64_t iova, std::uint64_t length) const {
    for (const Entry& entry : map_) {
        if (iova < entry.iova || iova - entry.iova >= entry.size) continue;
        if (length > entry.size - (iova - entry.iova)) return nullptr;
        // The address that the IOTLB message named. NOLINTNEXTLINE(performance-no-int-to-ptr)
        return reinterpret_cast<std::byte*>(entry.address + (iova - entry.iova));
    }
    return nullptr;
}

std::byte* FakeVdpaParent::ring(const Queue& queue, std::uint64_t iova,
                                std::size_t entry_size) const {
    return queue.size == 0 ? nullptr : reach(iova, entries_offset + queue.size * entry_size);
}

unsigned FakeVdpaParent::use_available(Queue& queue) {
    std::byte* const avail = ring(queue, queue.addresses.avail_user_addr, sizeof(std::uint16_t));
    std::byte* const used = ring(queue, queue.addresses.used_user_addr, sizeof(vring_used_elem));
    const bool works = running && !suspended && queue.alive && queue.ready;
    if (!works || avail == nullptr || used == nullptr) return 0;
    const std::uint16_t end = index_of(avail).load(std::memory_order_acquire);
    unsigned count = 0;
    for (; queue.base != end; ++queue.base, ++count) {
        const std::size_t slot = queue.base % queue.size;
        std::uint16_t head = 0;
        std::memcpy(&head, avail + entries_offset + slot * sizeof head, sizeof head);
        const vring_used_elem element{head, 0};
        std::memcpy(used + entries_offset + slot * sizeof element, &element, sizeof element);
    }
    index_of(used).store(queue.base, std::memory_order_release);
    return count;
}

void FakeVdpaParent::use_last_first(Queue& queue) {
    std::byte* const avail = ring(queue, queue.addresses.avail_user_addr, sizeof(std::uint16_t));
    std::byte* const used = ring(queue, queue.addresses.used_user_addr, sizeof(vring_used_elem));
    const std::uint16_t end = index_of(avail).load(std::memory_order_acquire);
    std::uint16_t head = 0;
    std::memcpy(&head, avail + entries_offset + (end - 1U) % queue.size * sizeof head, sizeof head);
    const vring_used_elem element{head, 0};
    const std::uint16_t index = index_of(used).load(std::memory_order_relaxed);
    std::memcpy(used + entries_offset + index % queue.size * sizeof element, &element,
                sizeof element);
    index_of(used).store(static_cast<std::uint16_t>(index + 1), std::memory_order_release);
    queue.base = end;
}

void FakeVdpaParent::forget_kicks() {
    for (const Queue& queue : queues) (void)take(queue.kick);
}

void FakeVdpaParent::serve_kicks() {
    for (Queue& queue : queues) {
        if (running && !suspended && take(queue.kick) && use_available(queue) != 0) {
            (void)interrupt(queue);
        }
    }
}

bool FakeVdpaParent::interrupt(const Queue& queue) const {
    return signal(queue.call);
}

bool FakeVdpaParent::interrupt_config() const {
    return signal(config_call);
}

bool FakeVdpaParent::in_flight() const {
    return std::any_of(queues.begin(), queues.end(), [this](const Queue& queue) {
        std::byte* const avail =
            ring(queue, queue.addresses.avail_user_addr, sizeof(std::uint16_t));
        return running && !suspended && queue.alive && avail != nullptr &&
               index_of(avail).load(std::memory_order_acquire) != queue.base;
    });
}

}  // namespace viaduct::test
