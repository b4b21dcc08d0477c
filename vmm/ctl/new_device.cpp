#include "vmm/ctl/new_device.hpp"

#include <bit>
#include <charconv>
#include <limits>
#include <sstream>

#include "base/nearest_name.hpp"
#include "devices/virtio/spec.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

std::uint16_t parse_u16(std::string_view option, const std::string& text, std::uint64_t least) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint16_t>::max();
    const std::uint64_t number = parse_count(option, text);
    if (number < least || number > most) {
        throw UsageError("{}: {} to {} is possible, not {}", option, least, most, text);
    }
    return static_cast<std::uint16_t>(number);
}

void check_device_name(const std::string& name) {
    constexpr std::string_view allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:";
    if (name.empty() || name.front() == '.' || name.front() == '-' ||
        name.find_first_not_of(allowed) != std::string::npos) {
        throw UsageError(
            "'{}' is no name for a device: letters, digits and _ - . : make one, as in disk0",
            name);
    }
}

/// 64 names, by bit; empty where the bit has none.
std::vector<std::string> names_by_bit(std::uint32_t device_id) {
    std::vector<std::string> names;
    for (unsigned bit = 0; bit < 64; ++bit) {
        names.push_back(virtio::feature_names(device_id, std::uint64_t{1} << bit).front());
    }
    return names;
}

/// "VIRTIO_NET_F_MAC" is called MAC too.
std::string_view short_name(std::string_view name) {
    const auto prefix = name.find("_F_");
    return prefix == std::string_view::npos ? name : name.substr(prefix + 3);
}

unsigned bit_of(const std::vector<std::string>& names, const std::string& typed) {
    for (unsigned bit = 0; bit < names.size(); ++bit) {
        if (names[bit] == typed || short_name(names[bit]) == typed) return bit;
    }
    std::vector<std::string_view> known;
    for (const std::string& name : names) {
        // The rest has no name: "bit 60".
        if (name.starts_with("VIRTIO_")) {
            known.push_back(typed.starts_with("VIRTIO_") ? std::string_view(name)
                                                         : short_name(name));
        }
    }
    throw UsageError("--features: unknown feature '{}': did you mean '{}'? (or 0x… for the bits)",
                     typed, nearest_name(typed, known));
}

}  // namespace

management::MacAddress parse_mac(const std::string& text) {
    management::MacAddress mac{};
    const char* at = text.data();
    const char* const end = at + text.size();
    for (std::size_t i = 0; i < mac.size(); ++i) {
        const auto [after, failed] = std::from_chars(at, end, mac[i], 16);
        const bool last = i + 1 == mac.size();
        if (failed != std::errc() || after != at + 2 || (last ? after != end : *after != ':')) {
            throw UsageError("--mac: six bytes are needed, as in 52:54:00:12:34:56, not '{}'",
                             text);
        }
        at = after + 1;
    }
    if ((mac[0] & 1U) != 0) {
        throw UsageError("--mac: {} is a multicast address; one card's has an even first byte",
                         text);
    }
    return mac;
}

std::uint64_t parse_features(std::uint32_t device_id, const std::string& text) {
    if (text.starts_with("0x")) {
        std::uint64_t bits = 0;
        const char* const end = text.data() + text.size();
        const auto [after, failed] = std::from_chars(text.data() + 2, end, bits, 16);
        if (failed != std::errc() || after != end) {
            throw UsageError("--features: '{}' is no number of 64 bits", text);
        }
        return bits;
    }
    const auto names = names_by_bit(device_id);
    std::uint64_t features = 0;
    std::istringstream in(text);
    for (std::string name; std::getline(in, name, ',');) {
        features |= std::uint64_t{1} << bit_of(names, name);
    }
    return features;
}

management::NewDevice parse_new_device(const NewDeviceText& text) {
    check_device_name(text.name);
    management::NewDevice device{.name = text.name,
                                 .parent = text.parent,
                                 .mac = {},
                                 .mtu = {},
                                 .max_queue_pairs = {},
                                 .features = {}};
    // virtio 1.2, 5.1.4.1: 68 at least.
    if (!text.mac.empty()) device.mac = parse_mac(text.mac);
    if (!text.mtu.empty()) device.mtu = parse_u16("--mtu", text.mtu, 68);
    if (!text.max_vqp.empty()) device.max_queue_pairs = parse_u16("--max-vqp", text.max_vqp, 1);
    return device;
}

std::uint32_t device_id_of(const management::ManagementDevice& parent) {
    for (const std::uint32_t id : {virtio::device_id::net, virtio::device_id::block}) {
        if ((parent.device_types >> id & 1U) != 0) return id;
    }
    return static_cast<std::uint32_t>(std::countr_zero(parent.device_types));
}

}  // namespace viaduct::ctl
