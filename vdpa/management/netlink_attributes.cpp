#include "vdpa/management/netlink_attributes.hpp"

#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

#include "base/error.hpp"

namespace viaduct::management {

NetlinkAttributes::NetlinkAttributes(std::span<const std::byte> bytes) {
    while (bytes.size() >= NLA_HDRLEN) {
        nlattr header{};
        std::memcpy(&header, bytes.data(), sizeof header);
        if (header.nla_len < NLA_HDRLEN || header.nla_len > bytes.size()) {
            throw Error("the kernel's answer ends within an attribute (type {}, {} bytes of {})",
                        header.nla_type & NLA_TYPE_MASK, bytes.size(), header.nla_len);
        }
        put(header.nla_type & NLA_TYPE_MASK,
            bytes.subspan(NLA_HDRLEN, header.nla_len - std::size_t{NLA_HDRLEN}));
        bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
    }
}

void NetlinkAttributes::put(Type type, std::span<const std::byte> value) {
    values_[type] = {value.begin(), value.end()};
}

void NetlinkAttributes::put_string(Type type, std::string_view value) {
    const auto bytes = std::as_bytes(std::span(value));
    put(type, bytes);
    values_[type].push_back(std::byte{0});
}

void NetlinkAttributes::put_u16(Type type, std::uint16_t value) {
    put(type, std::as_bytes(std::span(&value, 1)));
}

void NetlinkAttributes::put_u64(Type type, std::uint64_t value) {
    put(type, std::as_bytes(std::span(&value, 1)));
}

std::span<const std::byte> NetlinkAttributes::bytes(Type type) const {
    const auto found = values_.find(type);
    return found != values_.end() ? std::span<const std::byte>(found->second)
                                  : std::span<const std::byte>();
}

std::string NetlinkAttributes::string(Type type) const {
    std::string text;
    for (const std::byte byte : bytes(type)) {
        if (byte == std::byte{0}) break;
        text += static_cast<char>(byte);
    }
    return text;
}

std::optional<std::uint64_t> NetlinkAttributes::number(Type type) const {
    const auto value = bytes(type);
    const auto read = [&]<typename T>(T number) -> std::uint64_t {
        std::memcpy(&number, value.data(), sizeof number);
        return number;
    };
    switch (value.size()) {
        case 1:
            return read(std::uint8_t{});
        case 2:
            return read(std::uint16_t{});
        case 4:
            return read(std::uint32_t{});
        case 8:
            return read(std::uint64_t{});
        default:
            return std::nullopt;
    }
}

}  // namespace viaduct::management
