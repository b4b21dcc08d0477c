#include "firmware/guest_ram.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace viaduct::firmware {

std::span<std::byte> bytes_of(const AddressSpace& ram, const MemoryRange& range,
                              std::string_view what) {
    const std::span<std::byte> bytes = ram.find(Iova{range.base.value}, range.size);
    if (bytes.empty()) {
        throw Error("{} needs guest memory at {:#x}, {:#x} bytes, and not all of that is RAM", what,
                    range.base.value, range.size);
    }
    return bytes;
}

void store_bytes(const AddressSpace& ram, Gpa at, std::span<const std::byte> bytes,
                 std::string_view what) {
    std::ranges::copy(bytes, bytes_of(ram, {at, bytes.size()}, what).begin());
}

}  // namespace viaduct::firmware
