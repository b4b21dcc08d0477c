#include "tests/fuzz/hostile_guest.hpp"

#include <algorithm>
#include <cstring>

namespace viaduct::fuzz {

HostileGuest::HostileGuest() {
    map(ram, ram_bytes, true);
    map(more, more_bytes, true);
    map(rom, rom_bytes, false);
}

void HostileGuest::map(Iova at, std::uint64_t bytes, bool writable) {
    owned_.emplace_back(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{page})));
    std::memset(owned_.back().get(), 0, bytes);
    memory_.map({at, {owned_.back().get(), bytes}, writable});
}

std::byte* HostileGuest::reach(Iova address, std::uint64_t length, bool to_write) const noexcept {
    for (const MemoryRegion& region : memory_.regions()) {
        const std::uint64_t first = region.iova.value;
        const std::uint64_t size = region.bytes.size();
        if (address.value < first || address.value - first >= size) continue;
        const std::uint64_t offset = address.value - first;
        if (length > size - offset || (to_write && !region.writable)) return nullptr;
        return region.bytes.data() + offset;
    }
    return nullptr;
}

void HostileGuest::write(Iova address, std::uint64_t value, std::uint64_t bytes) const noexcept {
    bytes = std::clamp<std::uint64_t>(bytes, 1, sizeof value);
    if (std::byte* at = reach(address, bytes)) std::memcpy(at, &value, bytes);
}

void HostileGuest::write(Iova address, const virtio::Descriptor& descriptor) const noexcept {
    if (std::byte* at = reach(address, sizeof descriptor)) {
        std::memcpy(at, &descriptor, sizeof descriptor);
    }
}

}  // namespace viaduct::fuzz
