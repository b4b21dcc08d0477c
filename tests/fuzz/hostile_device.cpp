#include "tests/fuzz/hostile_device.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/fuzz/targets.hpp"

namespace viaduct::fuzz {

using datapath::DeviceFault;
using virtio::RingIndex;
using virtio::SplitRing;
using virtio::UsedElement;

HostileDevice::HostileDevice(const datapath::ShadowQueue& queue, MemoryRegion window, bool indirect)
    : queue_(queue), window_(window) {
    walk_ = {.ring_size = queue.setup.size,
             .table = queue.setup.descriptors,
             .indirect = indirect,
             .longest = queue.longest_chain(),
             // A table anywhere else could be changed by the guest.
             .read = [window](Iova address, std::uint64_t length) -> const std::byte* {
                 const std::uint64_t size = window.bytes.size();
                 if (address < window.iova || length > size) return nullptr;
                 const std::uint64_t offset = address.value - window.iova.value;
                 return offset <= size - length ? window.bytes.data() + offset : nullptr;
             }};
}

std::optional<std::vector<Buffer>> HostileDevice::chain_at(std::uint16_t slot) const {
    return walk_chain(walk_, slot);
}

std::uint16_t HostileDevice::look(std::deque<Taken>& taken) {
    const std::uint16_t count = RingIndex(queue_.ring.avail_idx().load()) - seen_;
    require(outstanding_.size() + count <= queue_.setup.size,
            "more is in flight than the ring holds");
    for (std::uint16_t left = count; left > 0; --left, ++seen_) {
        const std::uint16_t slot = queue_.ring.avail_entry(seen_).load();
        require(std::ranges::none_of(outstanding_, [&](const Given& g) { return g.slot == slot; }),
                "a slot was given to the device that it has already");
        const auto buffers = chain_at(slot);
        require(buffers.has_value(),
                "the device was given what is no chain of the shadow window's");
        const auto found = std::ranges::find(taken, *buffers, &Taken::buffers);
        require(found != taken.end(), "the device was given what the guest never made available");
        std::uint64_t writable = 0;
        for (const Buffer& buffer : *buffers) writable += buffer.writable ? buffer.length : 0;
        outstanding_.push_back({slot, std::move(*found), writable});
        taken.erase(found);
    }
    return count;
}

void HostileDevice::use(std::uint64_t number, std::uint32_t length) const {
    if (outstanding_.empty()) return;
    put_used({outstanding_[number % outstanding_.size()].slot, length});
}

void HostileDevice::put_used(UsedElement element) const {
    const auto index = queue_.ring.used_idx();
    queue_.ring.set_used_entry(RingIndex(index.load()), element);
    advance_used_index(1);
}

void HostileDevice::advance_used_index(std::uint16_t steps) const {
    const auto index = queue_.ring.used_idx();
    index.store((RingIndex(index.load()) + steps).value());
}

void HostileDevice::write(std::uint64_t offset, std::uint16_t value) const {
    const std::uint64_t room = SplitRing::used_bytes(queue_.setup.size) - sizeof value;
    const std::uint64_t area = queue_.setup.device_area.value - window_.iova.value;
    std::memcpy(window_.bytes.data() + area + offset % (room + 1), &value, sizeof value);
}

bool HostileDevice::wants_kick(RingIndex before, bool event_idx) const {
    if (!event_idx) return (queue_.ring.used_flags().load() & 1U) == 0;
    const RingIndex event(queue_.ring.avail_event().load());
    for (RingIndex at = before; at != seen_; ++at) {
        if (at == event) return true;
    }
    return false;
}

bool HostileDevice::will_call(bool event_idx) const {
    return event_idx ? RingIndex(queue_.ring.used_event().load()) == judged_
                     : queue_.ring.avail_flags().load() == 0;
}

HostileDevice::Verdict HostileDevice::judge_used() {
    Verdict verdict;
    const std::uint16_t count = RingIndex(queue_.ring.used_idx().load()) - judged_;
    if (count > outstanding_.size()) {
        verdict.fault = DeviceFault::used_index_jumped;
        return verdict;
    }
    for (std::uint16_t left = count; left > 0; --left, ++judged_) {
        const UsedElement element = queue_.ring.used_entry(judged_);
        const auto found = std::ranges::find(outstanding_, element.id, &Given::slot);
        if (found == outstanding_.end()) {
            verdict.fault = DeviceFault::unknown_element;
            return verdict;
        }
        const auto length = std::min<std::uint64_t>(element.length, found->writable);
        verdict.used.push_back({found->taken.guest_head, static_cast<std::uint32_t>(length)});
        outstanding_.erase(found);
    }
    return verdict;
}

void HostileDevice::require_unchanged() const {
    for (const Given& given : outstanding_) {
        require(chain_at(given.slot) == given.taken.buffers,
                "a chain changed in the device's hands");
    }
}

}  // namespace viaduct::fuzz
