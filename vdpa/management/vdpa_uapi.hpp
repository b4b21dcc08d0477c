/// What linux/vdpa.h of newer kernels has and Debian 12's headers (6.1) lack. Numbers are those of
/// include/uapi/linux/vdpa.h in 6.12.
#pragma once

#include <linux/vdpa.h>

#include <cstdint>

namespace viaduct::management {

/// Filled in for block devices alone. 6.1's header gives the first number to an attribute that
/// newer ones have not (VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES): it means this only when the device
/// is a disk, whose configuration kernels before 6.9 do not tell at all.
enum BlockAttribute : std::uint16_t {
    block_capacity = 21,    // VDPA_ATTR_DEV_BLK_CFG_CAPACITY, u64, in sectors of 512 bytes
    block_size_max = 22,    // VDPA_ATTR_DEV_BLK_CFG_SIZE_MAX, u32
    block_block_size = 23,  // VDPA_ATTR_DEV_BLK_CFG_BLK_SIZE, u32
    block_seg_max = 24,     // VDPA_ATTR_DEV_BLK_CFG_SEG_MAX, u32
    block_queues = 25,      // VDPA_ATTR_DEV_BLK_CFG_NUM_QUEUES, u16
    block_read_only = 35,   // VDPA_ATTR_DEV_BLK_READ_ONLY, u8
    block_flush = 36,       // VDPA_ATTR_DEV_BLK_FLUSH, u8
};

}  // namespace viaduct::management
