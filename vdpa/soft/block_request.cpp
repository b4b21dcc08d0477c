#include "vdpa/soft/block_request.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace viaduct::soft {
namespace {

using virtio::Segment;
using virtio::total_length;

bool all_reachable(std::span<const Segment> segments) noexcept {
    return std::none_of(segments.begin(), segments.end(),
                        [](const Segment& segment) { return segment.bytes.empty(); });
}

std::uint32_t saturated(std::uint64_t length) noexcept {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(length, std::numeric_limits<std::uint32_t>::max()));
}

/// Copies the header, however it is spread; false when there is not so much.
bool copy_header(std::span<const Segment> segments, virtio_blk_outhdr& header) noexcept {
    auto target = std::as_writable_bytes(std::span(&header, 1));
    for (const Segment& segment : segments) {
        const std::size_t count = std::min(target.size(), segment.bytes.size());
        std::memcpy(target.data(), segment.bytes.data(), count);
        target = target.subspan(count);
        if (target.empty()) return true;
    }
    return false;
}

}  // namespace

Verdict BlockProtocol::judge(const virtio::Chain& chain, const RequestRoom& room,
                             BlockRequest& request) const noexcept {
    if (chain.writable.empty() || chain.writable.back().bytes.empty()) return Verdict::no_status;
    const std::uint64_t fillable = total_length(chain.writable) - 1;
    request.head = chain.head;
    request.status = &chain.writable.back().bytes.back();
    request.used_on_failure = fillable == 0 ? 1 : 0;
    request.used_on_success = request.used_on_failure;
    virtio_blk_outhdr header{};
    if (!all_reachable(chain.readable) || !all_reachable(chain.writable) ||
        !copy_header(chain.readable, header)) {
        return Verdict::io_error;
    }
    const std::uint64_t sent = total_length(chain.readable) - sizeof header;
    const bool from_device = header.type == VIRTIO_BLK_T_IN || header.type == VIRTIO_BLK_T_GET_ID;
    const auto payload = from_device ? collect(chain.writable, 0, fillable, room.segments)
                                     : collect(chain.readable, sizeof header, sent, room.segments);
    if (!payload) return Verdict::io_error;
    switch (header.type) {
        case VIRTIO_BLK_T_IN:
            request.used_on_success = saturated(fillable + 1);
            return judge_transfer(OperationKind::read, header.sector, *payload, request);
        case VIRTIO_BLK_T_OUT:
            return judge_transfer(OperationKind::write, header.sector, *payload, request);
        case VIRTIO_BLK_T_FLUSH:
            begin(OperationKind::flush, request);
            return Verdict::start;
        case VIRTIO_BLK_T_DISCARD:
            return judge_ranges(OperationKind::discard, *payload, room, request);
        case VIRTIO_BLK_T_WRITE_ZEROES:
            return judge_ranges(OperationKind::write_zeroes, *payload, room, request);
        case VIRTIO_BLK_T_GET_ID:
            return tell_serial(*payload, request);
        default:
            return Verdict::unsupported;
    }
}

std::optional<BlockProtocol::Payload> BlockProtocol::collect(std::span<const Segment> segments,
                                                             std::uint64_t skip,
                                                             std::uint64_t length,
                                                             std::span<iovec> room) noexcept {
    std::size_t count = 0;
    std::uint64_t left = length;
    for (const Segment& segment : segments) {
        const std::uint64_t skipped = std::min<std::uint64_t>(skip, segment.bytes.size());
        skip -= skipped;
        const auto piece = segment.bytes.subspan(skipped).first(
            std::min<std::uint64_t>(left, segment.bytes.size() - skipped));
        if (piece.empty()) continue;
        if (count == room.size()) return std::nullopt;
        room[count++] = {piece.data(), piece.size()};
        left -= piece.size();
    }
    return Payload{room.first(count), length};
}

void BlockProtocol::begin(OperationKind kind, BlockRequest& request) const noexcept {
    request.kind = kind;
    // A driver that cannot flush relies on writes being durable when they complete (5.2.6.2).
    request.durable = !accepted(VIRTIO_BLK_F_FLUSH);
    request.step = 0;
    request.offset = 0;
    request.length = 0;
    request.segments = {};
    request.ranges = {};
}

Verdict BlockProtocol::judge_transfer(OperationKind kind, std::uint64_t sector,
                                      const Payload& payload,
                                      BlockRequest& request) const noexcept {
    const std::uint64_t sectors = payload.length / sector_bytes;
    if (payload.length % sector_bytes != 0 || sector > terms_.sectors ||
        sectors > terms_.sectors - sector) {
        return Verdict::io_error;
    }
    if (kind == OperationKind::write && terms_.read_only) return Verdict::io_error;
    if (sectors == 0) return Verdict::ok;
    begin(kind, request);
    request.offset = sector * sector_bytes;
    request.length = payload.length;
    request.segments = payload.pieces;
    return Verdict::start;
}

Verdict BlockProtocol::judge_ranges(OperationKind kind, const Payload& payload,
                                    const RequestRoom& room, BlockRequest& request) const noexcept {
    using Range = virtio_blk_discard_write_zeroes;
    const bool discard = kind == OperationKind::discard;
    if (!accepted(discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES)) {
        return Verdict::unsupported;
    }
    const std::size_t count = payload.length / sizeof(Range);
    if (terms_.read_only || count == 0 || count > room.ranges.size() ||
        payload.length % sizeof(Range) != 0) {
        return Verdict::io_error;
    }
    auto target = std::as_writable_bytes(room.ranges.first(count));
    for (const iovec& piece : payload.pieces) {
        std::memcpy(target.data(), piece.iov_base, piece.iov_len);
        target = target.subspan(piece.iov_len);
    }
    // None is carried out unless all are right.
    std::size_t kept = 0;
    for (const Range& range : room.ranges.first(count)) {
        if (const Verdict verdict = judge_range(kind, range); verdict != Verdict::ok) {
            return verdict;
        }
        if (range.num_sectors != 0) room.ranges[kept++] = range;
    }
    begin(kind, request);
    request.ranges = room.ranges.first(kept);
    return advance(request) ? Verdict::start : Verdict::ok;
}

Verdict BlockProtocol::judge_range(OperationKind kind,
                                   const virtio_blk_discard_write_zeroes& range) const noexcept {
    constexpr std::uint32_t unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    const std::uint32_t known_flags = kind == OperationKind::write_zeroes ? unmap : 0;
    if ((range.flags & ~known_flags) != 0) return Verdict::unsupported;
    const bool inside =
        range.sector <= terms_.sectors && range.num_sectors <= terms_.sectors - range.sector;
    return inside && range.num_sectors <= most_range_sectors ? Verdict::ok : Verdict::io_error;
}

bool BlockProtocol::advance(BlockRequest& request) noexcept {
    if (request.ranges.empty()) return false;
    const virtio_blk_discard_write_zeroes& range = request.ranges.front();
    request.step = 0;
    request.offset = range.sector * sector_bytes;
    request.length = std::uint64_t{range.num_sectors} * sector_bytes;
    request.may_unmap = (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
    request.ranges = request.ranges.subspan(1);
    return true;
}

Verdict BlockProtocol::tell_serial(const Payload& payload, BlockRequest& request) const noexcept {
    std::span<const char> left(terms_.serial);
    for (const iovec& piece : payload.pieces) {
        const std::size_t count = std::min(left.size(), piece.iov_len);
        std::memcpy(piece.iov_base, left.data(), count);
        left = left.subspan(count);
    }
    const bool filled = payload.length <= terms_.serial.size();
    request.used_on_success = saturated(filled ? payload.length + 1 : terms_.serial.size());
    return Verdict::ok;
}

}  // namespace viaduct::soft
