/// Block devices (virtio 1.2, 5.2): what their requests say.
#pragma once

#include <linux/virtio_blk.h>

#include <cstddef>

#include "devices/virtio/spec.hpp"
#include "vdpa/datapath/personality/personality.hpp"

namespace viaduct::datapath {

/// Reads a request's header (5.2.6). A chain too short for header and status is of kind `other`.
Request parse_block_request(const virtio::Chain& chain) noexcept;

Disk describe_block_device(std::uint64_t features, std::span<const std::byte> config);

/// The cache mode that the driver has chosen is all that a reset loses (5.2.5).
inline constexpr Personality block_personality{
    .device_id = virtio::device_id::block,
    .drains = true,
    .automatic = true,
    .not_switchable = 0,
    .kept = {.feature = virtio::feature::bit(VIRTIO_BLK_F_CONFIG_WCE),
             .offset = offsetof(virtio_blk_config, wce),
             .length = sizeof(virtio_blk_config::wce)},
    .parse = parse_block_request,
    .describe_disk = describe_block_device,
};

}  // namespace viaduct::datapath
