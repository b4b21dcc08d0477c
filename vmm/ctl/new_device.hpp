/// What `viaductctl devices add` takes as text, and what it means.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vdpa/management/vdpa_family.hpp"

namespace viaduct::ctl {

/// As typed; empty when it is not given.
struct NewDeviceText {
    std::string name;
    std::string parent;
    std::string mac;
    std::string mtu;
    std::string max_vqp;
};

/// All but the features, whose names depend on the parent. Throws UsageError.
[[nodiscard]] management::NewDevice parse_new_device(const NewDeviceText& text);

/// "52:54:00:12:34:56". Throws UsageError.
[[nodiscard]] management::MacAddress parse_mac(const std::string& text);

/// "0x100000020" for the bits, or names with commas between: "VIRTIO_NET_F_MAC,VIRTIO_F_VERSION_1",
/// the name's beginning may be left out where it is clear ("MAC,VERSION_1"). Throws UsageError that
/// names the nearest.
[[nodiscard]] std::uint64_t parse_features(std::uint32_t device_id, const std::string& text);

/// The one type of the devices that `parent` makes; of several the first that is known here.
[[nodiscard]] std::uint32_t device_id_of(const management::ManagementDevice& parent);

}  // namespace viaduct::ctl
