/// Which of a device's features its guest is offered.
#pragma once

#include <cstdint>

#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {

/// How a device's data path is chosen (`datapath=` of --device).
enum class Policy { automatic, fast, slow, fast_only };

/// "auto", "fast", "slow", "fast-only"
constexpr const char* name_of(Policy policy) noexcept {
    switch (policy) {
        case Policy::automatic:
            return "auto";
        case Policy::fast:
            return "fast";
        case Policy::slow:
            return "slow";
        case Policy::fast_only:
            return "fast-only";
    }
    return "unknown";
}

/// What a device may have and its guest is not offered, on whatever path: the transport has no
/// register for it (RING_RESET, ADMIN_VQ, SR_IOV, NOTIF_CONFIG_DATA) or loses what goes with a
/// notification in an eventfd (NOTIFICATION_DATA), and a packed ring has no state here to begin in.
constexpr std::uint64_t carried_features(std::uint64_t device_features) noexcept {
    namespace feature = virtio::feature;
    return device_features &
           ~(feature::ring_packed | feature::ring_reset | feature::admin_vq | feature::sr_iov |
             feature::notification_data | feature::notif_config_data);
}

/// Of the transport bits a switchable device offers only those that the slow path carries too;
/// what belongs to the device type is offered as it is, but for what its personality says cannot be
/// carried over (`not_switchable`).
constexpr std::uint64_t switchable_features(std::uint64_t device_features,
                                            std::uint64_t not_switchable) noexcept {
    constexpr std::uint64_t carried = virtio::feature::version_1 |
                                      virtio::feature::access_platform |
                                      virtio::feature::event_idx | virtio::feature::indirect_desc;
    return device_features & (carried | ~virtio::feature::transport_mask) & ~not_switchable;
}

}  // namespace viaduct::datapath
