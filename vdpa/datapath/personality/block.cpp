#include "vdpa/datapath/personality/block.hpp"

#include <linux/virtio_blk.h>

#include <algorithm>
#include <cstring>

namespace viaduct::datapath {
namespace {

constexpr std::uint64_t sector_bytes = 512;

/// Reads a request's buffers one after the other: what belongs together may lie in several (2.7.4).
class Reader {
public:
    explicit Reader(std::span<const virtio::Segment> segments) noexcept : segments_(segments) {}

    /// A private copy, so that it is read once; zeroes where the buffers end.
    template <typename T>
    T take() noexcept {
        T value{};
        auto room = std::as_writable_bytes(std::span(&value, 1));
        while (!room.empty() && !segments_.empty()) {
            const auto rest = segments_.front().bytes.subspan(done_);
            const std::size_t count = std::min(room.size(), rest.size());
            if (count != 0) std::memcpy(room.data(), rest.data(), count);
            room = room.subspan(count);
            done_ += count;
            if (count == rest.size()) next_segment();
        }
        return value;
    }

private:
    void next_segment() noexcept {
        segments_ = segments_.subspan(1);
        done_ = 0;
    }

    std::span<const virtio::Segment> segments_;
    std::size_t done_ = 0;  // of the first segment
};

/// More ranges than drivers send; a device that takes more has the rest uncounted.
constexpr std::uint64_t most_ranges_read = 256;

/// What the ranges cover that follow the header in `length` bytes (5.2.6).
std::uint64_t sum_ranges(Reader& reader, std::uint64_t length) noexcept {
    using Range = virtio_blk_discard_write_zeroes;
    std::uint64_t bytes = 0;
    const std::uint64_t ranges = std::min(length / sizeof(Range), most_ranges_read);
    for (std::uint64_t range = 0; range < ranges; ++range) {
        bytes += std::uint64_t{reader.take<Range>().num_sectors} * sector_bytes;
    }
    return bytes;
}

/// The last byte that the device may write (5.2.6).
const std::byte* find_status(std::span<const virtio::Segment> segments) noexcept {
    const auto last = std::find_if(segments.rbegin(), segments.rend(),
                                   [](const auto& segment) { return !segment.bytes.empty(); });
    return last == segments.rend() ? nullptr : &last->bytes.back();
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
    Reader reader(chain.readable);
    const std::uint32_t type = reader.take<virtio_blk_outhdr>().type;
    request.kind = kind_of(type);
    const std::uint64_t out = readable - sizeof(virtio_blk_outhdr);
    request.into_device = out != 0;
    request.payload = request.bytes = out + writable - 1;
    if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES) {
        request.bytes = sum_ranges(reader, out);
    }
    // Zeroes are as much to write as data is. Discards cost nothing, but for being a request.
    if (type == VIRTIO_BLK_T_WRITE_ZEROES) {
        request.payload = std::max(request.payload, request.bytes);
    }
    return request;
}

Disk describe_block_device(std::uint64_t features, std::span<const std::byte> config) {
    std::uint64_t sectors = 0;
    static_assert(offsetof(virtio_blk_config, capacity) == 0);
    std::memcpy(&sectors, config.data(), std::min(sizeof sectors, config.size()));
    return {.size = sectors * sector_bytes,
            .read_only = (features & virtio::feature::bit(VIRTIO_BLK_F_RO)) != 0};
}

}  // namespace viaduct::datapath
