/// The block device's protocol (virtio 1.2, 5.2.6): what a chain of buffers asks for, judged once,
/// on private copies, and turned into operations on an image.
///
/// Framing is the driver's choice (2.7.4): a header, data and status may share buffers or be spread
/// over several. The status is the last byte that the device may write.
#pragma once

#include <linux/virtio_blk.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "devices/virtio/split_ring_chain.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::soft {

inline constexpr std::uint32_t sector_bytes = 512;
/// Buffers with data that one request may have.
inline constexpr std::uint32_t most_segments = 126;
/// Ranges of one discard or write zeroes, and the length of each.
inline constexpr std::uint32_t most_ranges = 16;
inline constexpr std::uint32_t most_range_sectors = 1U << 21;

/// What the driver's requests are judged by.
struct BlockTerms {
    std::uint64_t sectors = 0;   // capacity
    std::uint64_t features = 0;  // accepted by the driver
    bool read_only = false;
    std::array<char, VIRTIO_BLK_ID_BYTES> serial{};
};

/// The memory of one request, one for each head of a ring.
struct RequestRoom {
    std::span<iovec> segments;                          // most_segments
    std::span<virtio_blk_discard_write_zeroes> ranges;  // most_ranges
};

/// One request under way.
struct BlockRequest : Operation {
    std::uint16_t head = 0;
    bool in_flight = false;
    std::byte* status = nullptr;  // in guest memory
    // Used lengths (2.7.8.2): what was surely written, from the first writable byte on.
    std::uint32_t used_on_success = 0;
    std::uint32_t used_on_failure = 0;
    std::span<const virtio_blk_discard_write_zeroes> ranges{};  // that remain
};

enum class Verdict {
    start,        // the request holds an operation to be started
    ok,           // done at once, with this status
    io_error,     // likewise
    unsupported,  // likewise
    no_status,    // there is no byte for a status: the ring makes no sense
};

class BlockProtocol {
public:
    explicit BlockProtocol(const BlockTerms& terms) noexcept : terms_(terms) {}

    Verdict judge(const virtio::Chain& chain, const RequestRoom& room,
                  BlockRequest& request) const noexcept;

    /// An operation has succeeded: true when the request goes on with another, which it then holds.
    [[nodiscard]] static bool advance(BlockRequest& request) noexcept;

private:
    /// The data of a request, without header and status.
    struct Payload {
        std::span<iovec> pieces;
        std::uint64_t length = 0;
    };

    static std::optional<Payload> collect(std::span<const virtio::Segment> segments,
                                          std::uint64_t skip, std::uint64_t length,
                                          std::span<iovec> room) noexcept;
    Verdict judge_transfer(OperationKind kind, std::uint64_t sector, const Payload& payload,
                           BlockRequest& request) const noexcept;
    Verdict judge_ranges(OperationKind kind, const Payload& payload, const RequestRoom& room,
                         BlockRequest& request) const noexcept;
    [[nodiscard]] Verdict judge_range(OperationKind kind,
                                      const virtio_blk_discard_write_zeroes& range) const noexcept;
    Verdict tell_serial(const Payload& payload, BlockRequest& request) const noexcept;
    void begin(OperationKind kind, BlockRequest& request) const noexcept;
    [[nodiscard]] bool accepted(unsigned feature) const noexcept {
        return (terms_.features >> feature & 1) != 0;
    }

    BlockTerms terms_;
};

}  // namespace viaduct::soft
