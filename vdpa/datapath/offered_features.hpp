/// Which of a device's features its guest is offered.
#pragma once

#include <cstdint>

#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {

/// How a device's data path is chosen (`datapath=` of --device).
enum class Policy { automatic, fast, fast_only };

/// Of the transport bits a switchable device offers only those that the slow path carries too;
/// everything that belongs to the device type is offered as it is.
constexpr std::uint64_t offered_features(std::uint64_t device_features, Policy policy) noexcept {
    if (policy == Policy::fast_only) return device_features;
    constexpr std::uint64_t carried = virtio::feature::version_1 |
                                      virtio::feature::access_platform |
                                      virtio::feature::event_idx | virtio::feature::indirect_desc;
    return device_features & (carried | ~virtio::feature::transport_mask);
}

}  // namespace viaduct::datapath
