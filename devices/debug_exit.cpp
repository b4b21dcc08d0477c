#include "devices/debug_exit.hpp"

#include <algorithm>

namespace viaduct::devices {

void DebugExit::read(std::uint64_t /*offset*/, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
}

void DebugExit::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) noexcept {
    if (bytes.empty() || bytes.size() > sizeof(std::uint32_t)) return;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        value |= std::to_integer<std::uint32_t>(bytes[i]) << (8 * i);
    }
    on_exit_(value);
}

}  // namespace viaduct::devices
