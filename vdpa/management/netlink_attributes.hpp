/// The attributes of a generic netlink message (struct nlattr: length, type, value, padded to four
/// bytes; netlink(7)), by type, each at most once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct::management {

class NetlinkAttributes {
public:
    using Type = std::uint16_t;

    NetlinkAttributes() = default;
    /// Takes a received message's attributes apart. Throws Error where one reaches past the end.
    explicit NetlinkAttributes(std::span<const std::byte> bytes);

    void put(Type type, std::span<const std::byte> value);
    /// With the NUL that the kernel expects at its end.
    void put_string(Type type, std::string_view value);
    void put_u16(Type type, std::uint16_t value);
    void put_u64(Type type, std::uint64_t value);

    [[nodiscard]] bool has(Type type) const { return values_.contains(type); }
    /// Empty when there is none.
    [[nodiscard]] std::span<const std::byte> bytes(Type type) const;
    [[nodiscard]] std::string string(Type type) const;
    /// An unsigned integer of 1, 2, 4 or 8 bytes. Nothing when it is missing or of another size:
    /// the kernel may be older or newer than this program.
    [[nodiscard]] std::optional<std::uint64_t> number(Type type) const;

    [[nodiscard]] const std::map<Type, std::vector<std::byte>>& values() const noexcept {
        return values_;
    }

private:
    std::map<Type, std::vector<std::byte>> values_;
};

}  // namespace viaduct::management
