/// One ACPI table in the making: a header, whatever is appended, then length and checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "firmware/acpi/layouts.hpp"

namespace viaduct::firmware::acpi {

using Bytes = std::vector<std::byte>;

inline constexpr std::array<char, 6> oem_id = {'V', 'I', 'A', 'D', 'C', 'T'};

/// What must be added to `bytes` so that they sum up to 0 modulo 256.
[[nodiscard]] std::uint8_t checksum(std::span<const std::byte> bytes) noexcept;

class Table {
public:
    Table(Signature signature, std::uint8_t revision);

    template <typename T>
    Table& append(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        return append_bytes(std::as_bytes(std::span(&value, 1)));
    }
    Table& append_bytes(std::span<const std::byte> bytes);

    /// The table, complete. Called once.
    [[nodiscard]] Bytes finish();

private:
    Bytes bytes_;
};

}  // namespace viaduct::firmware::acpi
