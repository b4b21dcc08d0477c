#include "devices/bus.hpp"

#include <algorithm>
#include <mutex>

namespace viaduct::devices {

bool Bus::add(std::uint64_t base, std::uint64_t size, std::shared_ptr<BusDevice> device) {
    const std::uint64_t last = base + size - 1;
    if (size == 0 || last < base) return false;
    const std::unique_lock lock(mutex_);
    auto next = std::find_if(ranges_.begin(), ranges_.end(),
                             [&](const Range& range) { return range.base >= base; });
    if (next != ranges_.end() && next->base <= last) return false;
    if (next != ranges_.begin()) {
        const Range& previous = *std::prev(next);
        if (previous.base + previous.size - 1 >= base) return false;
    }
    ranges_.insert(next, {base, size, std::move(device)});
    return true;
}

void Bus::remove(std::uint64_t base) {
    const std::unique_lock lock(mutex_);
    std::erase_if(ranges_, [&](const Range& range) { return range.base == base; });
}

Bus::Hit Bus::find(std::uint64_t address, std::size_t length) const noexcept {
    const std::shared_lock lock(mutex_);
    auto after = std::upper_bound(
        ranges_.begin(), ranges_.end(), address,
        [](std::uint64_t wanted, const Range& range) { return wanted < range.base; });
    if (after == ranges_.begin()) return {};
    const Range& range = *std::prev(after);
    const std::uint64_t offset = address - range.base;
    if (offset >= range.size || length > range.size - offset) return {};
    return {range.device, offset};
}

void Bus::read(std::uint64_t address, std::span<std::byte> bytes) const noexcept {
    if (const Hit hit = find(address, bytes.size()); hit.device) {
        hit.device->read(hit.offset, bytes);
    } else {
        std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    }
}

void Bus::write(std::uint64_t address, std::span<const std::byte> bytes) const noexcept {
    if (const Hit hit = find(address, bytes.size()); hit.device)
        hit.device->write(hit.offset, bytes);
}

}  // namespace viaduct::devices
