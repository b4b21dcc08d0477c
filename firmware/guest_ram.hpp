/// Writing into guest memory while a guest is set up. An address that the loader chose and that is
/// not RAM is an Error, never a stray write.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/address_space.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::firmware {

/// The host memory of `range`; `what` names it when it is not all RAM.
[[nodiscard]] std::span<std::byte> bytes_of(const AddressSpace& ram, const MemoryRange& range,
                                            std::string_view what);

void store_bytes(const AddressSpace& ram, Gpa at, std::span<const std::byte> bytes,
                 std::string_view what);

template <typename T>
void store(const AddressSpace& ram, Gpa at, const T& value, std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T>);
    store_bytes(ram, at, std::as_bytes(std::span(&value, 1)), what);
}

}  // namespace viaduct::firmware
