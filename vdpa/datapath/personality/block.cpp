#include "vdpa/datapath/personality/block.hpp"

#include <linux/virtio_blk.h>

#include <algorithm>
#include <cstring>

namespace viaduct::datapath {
namespace {

/// The header may lie in several buffers (2.7.4). A private copy: it is read once.
virtio_blk_outhdr copy_header(std::span<const virtio::Segment> segments) noexcept {
    virtio_blk_outhdr header{};
    auto room = std::as_writable_bytes(std::span(&header, 1));
    for (const virtio::Segment& segment : segments) {
        if (room.empty()) break;
        const std::size_t count = std::min(room.size(), segment.bytes.size());
        if (count == 0) continue;
        std::memcpy(room.data(), segment.bytes.data(), count);
        room = room.subspan(count);
    }
    return header;
}

/// The last byte that the device may write (5.2.6).
const std::byte* find_status(std::span<const virtio::Segment> segments) noexcept {
    for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
        if (!segment->bytes.empty()) return &segment->bytes.back();
    }
    return nullptr;
}

RequestKind kind_of(std::uint32_t type) noexcept {
    switch (type) {
        case VIRTIO_BLK_T_IN:
            return RequestKind::read;
        case VIRTIO_BLK_T_OUT:
        case VIRTIO_BLK_T_WRITE_ZEROES:
            return RequestKind::write;
        case VIRTIO_BLK_T_FLUSH:
            return RequestKind::flush;
        case VIRTIO_BLK_T_DISCARD:
            return RequestKind::discard;
        default:
            return RequestKind::other;
    }
}

}  // namespace

Request parse_block_request(const virtio::Chain& chain) noexcept {
    const std::uint64_t readable = virtio::total_length(chain.readable);
    const std::uint64_t writable = virtio::total_length(chain.writable);
    Request request;
    request.status = find_status(chain.writable);
    if (readable < sizeof(virtio_blk_outhdr) || writable == 0) return request;
    request.kind = kind_of(copy_header(chain.readable).type);
    const std::uint64_t out = readable - sizeof(virtio_blk_outhdr);
    request.into_device = out != 0;
    request.payload = out + writable - 1;
    return request;
}

Disk describe_block_device(std::uint64_t features, std::span<const std::byte> config) {
    std::uint64_t sectors = 0;
    static_assert(offsetof(virtio_blk_config, capacity) == 0);
    std::memcpy(&sectors, config.data(), std::min(sizeof sectors, config.size()));
    return {.size = sectors * 512,
            .read_only = (features & virtio::feature::bit(VIRTIO_BLK_F_RO)) != 0};
}

}  // namespace viaduct::datapath
