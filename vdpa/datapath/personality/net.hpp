/// Network devices (virtio 1.2, 5.1).
#pragma once

#include "devices/virtio/spec.hpp"
#include "vdpa/datapath/personality/personality.hpp"

namespace viaduct::datapath {

/// Feature bits (5.1.3); <linux/virtio_net.h> is not C++.
namespace net_feature {
using virtio::feature::bit;
inline constexpr std::uint64_t ctrl_guest_offloads = bit(2);
inline constexpr std::uint64_t ctrl_vq = bit(17);
inline constexpr std::uint64_t ctrl_rx = bit(18);
inline constexpr std::uint64_t ctrl_vlan = bit(19);
inline constexpr std::uint64_t ctrl_rx_extra = bit(20);
inline constexpr std::uint64_t guest_announce = bit(21);
inline constexpr std::uint64_t mq = bit(22);
inline constexpr std::uint64_t ctrl_mac_addr = bit(23);
inline constexpr std::uint64_t notf_coal = bit(53);
inline constexpr std::uint64_t hash_report = bit(57);
inline constexpr std::uint64_t rss = bit(60);
}  // namespace net_feature

/// Receive buffers wait for frames. What a driver sets through the control queue is lost by a reset
/// (5.1.6.5): a switchable card has no control queue, and nothing that needs one.
inline constexpr Personality net_personality{
    .device_id = virtio::device_id::net,
    .drains = false,
    .automatic = false,
    .not_switchable = net_feature::ctrl_guest_offloads | net_feature::ctrl_vq |
                      net_feature::ctrl_rx | net_feature::ctrl_vlan | net_feature::ctrl_rx_extra |
                      net_feature::guest_announce | net_feature::mq | net_feature::ctrl_mac_addr |
                      net_feature::notf_coal | net_feature::hash_report | net_feature::rss,
    .kept = {},
    .parse = nullptr,
    .describe_disk = nullptr,
};

}  // namespace viaduct::datapath
