#include "vdpa/soft/image/file_lane.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace viaduct::soft {
namespace {

/// The step of a read or write that direct I/O did not take; it begins at 0.
constexpr std::uint8_t buffered_only = 1;

/// Steps of a discard or write_zeroes.
constexpr std::uint8_t not_begun = 0;
constexpr std::uint8_t punching_hole = 1;
constexpr std::uint8_t zeroing_range = 2;
constexpr std::uint8_t writing_zeros = 3;
constexpr std::uint8_t flushing = 4;

/// Never written: the kernel backs all of it with its one zero page.
constexpr std::size_t zero_bytes = 65536;
constexpr std::size_t zero_repeats = 64;
alignas(4096) std::byte zeros[zero_bytes];

const std::array<iovec, zero_repeats> zero_segments = [] {
    std::array<iovec, zero_repeats> segments{};
    segments.fill({zeros, zero_bytes});
    return segments;
}();

void skip(std::span<iovec>& segments, std::uint64_t bytes) noexcept {
    while (!segments.empty() && bytes >= segments.front().iov_len) {
        bytes -= segments.front().iov_len;
        segments = segments.subspan(1);
    }
    if (bytes == 0 || segments.empty()) return;
    iovec& first = segments.front();
    first.iov_base = static_cast<std::byte*>(first.iov_base) + bytes;
    first.iov_len -= bytes;
}

void identify(io_uring_sqe& request, Operation& operation) noexcept {
    io_uring_sqe_set_data(&request, &operation);
}

}  // namespace

FileLane::FileLane(IoUring& ring, const FileAccess& access, FileLimits& limits,
                   FailureLog& failures) noexcept
    : ring_(ring),
      access_(access),
      limits_(limits),
      failures_(failures),
      registered_(ring.register_files(std::array{access.buffered, access.direct})) {}

void FileLane::aim(io_uring_sqe& request, bool direct) const noexcept {
    if (registered_) {
        request.fd = direct ? 1 : 0;
        request.flags |= IOSQE_FIXED_FILE;
    } else {
        request.fd = direct ? access_.direct : access_.buffered;
    }
}

void FileLane::start(Operation& operation) noexcept {
    switch (operation.kind) {
        case OperationKind::read:
        case OperationKind::write:
            return transfer(operation);
        case OperationKind::flush:
            return flush(operation);
        case OperationKind::discard:
        case OperationKind::write_zeroes:
            return clear(operation);
    }
}

std::optional<int> FileLane::proceed(Operation& operation, int result) noexcept {
    const auto outcome = go_on(operation, result);
    if (outcome && *outcome < 0) failures_.failed(operation.kind, operation.offset, -*outcome);
    return outcome;
}

std::optional<int> FileLane::go_on(Operation& operation, int result) noexcept {
    if (result == -EINTR) {
        start(operation);
        return std::nullopt;
    }
    switch (operation.kind) {
        case OperationKind::read:
        case OperationKind::write:
            return transferred(operation, result);
        case OperationKind::flush:
            return result;
        case OperationKind::discard:
        case OperationKind::write_zeroes:
            return cleared(operation, result);
    }
    return -EINVAL;
}

bool FileLane::fits_direct(const Operation& operation) const noexcept {
    if (access_.direct < 0 || operation.step == buffered_only) return false;
    const std::uint64_t memory_mask = access_.memory_alignment - 1U;
    const std::uint64_t offset_mask = access_.offset_alignment - 1U;
    if ((operation.offset & offset_mask) != 0) return false;
    return std::all_of(
        operation.segments.begin(), operation.segments.end(), [&](const iovec& segment) {
            const auto address = reinterpret_cast<std::uintptr_t>(segment.iov_base);
            return (address & memory_mask) == 0 && (segment.iov_len & offset_mask) == 0;
        });
}

void FileLane::transfer(Operation& operation) noexcept {
    const std::span<iovec> segments = operation.segments;
    const auto count = static_cast<unsigned>(segments.size());
    const auto pinned = count == 1 ? ring_.buffer_with(segments.front()) : std::nullopt;
    const bool reads = operation.kind == OperationKind::read;
    io_uring_sqe& request = ring_.next_request();
    if (pinned && reads) {
        io_uring_prep_read_fixed(&request, -1, segments.front().iov_base,
                                 static_cast<unsigned>(segments.front().iov_len), operation.offset,
                                 *pinned);
    } else if (pinned) {
        io_uring_prep_write_fixed(&request, -1, segments.front().iov_base,
                                  static_cast<unsigned>(segments.front().iov_len), operation.offset,
                                  *pinned);
    } else if (reads) {
        io_uring_prep_readv(&request, -1, segments.data(), count, operation.offset);
    } else {
        io_uring_prep_writev(&request, -1, segments.data(), count, operation.offset);
    }
    if (!reads && operation.durable) request.rw_flags = RWF_DSYNC;
    aim(request, fits_direct(operation));
    identify(request, operation);
}

std::optional<int> FileLane::transferred(Operation& operation, int result) noexcept {
    if (result == -EINVAL && fits_direct(operation)) {
        operation.step = buffered_only;
        transfer(operation);
        return std::nullopt;
    }
    if (result < 0) return result;
    if (result == 0) return -EIO;  // the file has become shorter than the disk
    const auto bytes = std::min(static_cast<std::uint64_t>(result), operation.length);
    operation.length -= bytes;
    if (operation.length == 0) return 0;
    operation.offset += bytes;
    skip(operation.segments, bytes);
    transfer(operation);
    return std::nullopt;
}

void FileLane::flush(Operation& operation) noexcept {
    // Either descriptor would do: it is the file that is flushed, with the device's own cache.
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_fsync(&request, -1, IORING_FSYNC_DATASYNC);
    aim(request, false);
    identify(request, operation);
}

void FileLane::clear(Operation& operation) noexcept {
    const bool may_punch = operation.kind == OperationKind::discard || operation.may_unmap;
    std::uint8_t& step = operation.step;
    if (step == not_begun) step = may_punch ? punching_hole : zeroing_range;
    if (step == punching_hole && operation.kind == OperationKind::write_zeroes &&
        limits_.no_punch_hole.load(std::memory_order_relaxed)) {
        step = zeroing_range;
    }
    if (step == zeroing_range && limits_.no_zero_range.load(std::memory_order_relaxed)) {
        step = writing_zeros;
    }
    if (step == writing_zeros) return write_zeros(operation);
    if (step == flushing) return flush(operation);
    const int mode =
        FALLOC_FL_KEEP_SIZE | (step == punching_hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_fallocate(&request, -1, mode, static_cast<off_t>(operation.offset),
                            static_cast<off_t>(operation.length));
    aim(request, false);
    identify(request, operation);
}

void FileLane::write_zeros(Operation& operation) noexcept {
    io_uring_sqe& request = ring_.next_request();
    const std::uint64_t repeats = std::min(operation.length / zero_bytes, zero_repeats);
    if (repeats > 0) {
        io_uring_prep_writev(&request, -1, zero_segments.data(), static_cast<unsigned>(repeats),
                             operation.offset);
    } else {
        io_uring_prep_write(&request, -1, zeros, static_cast<unsigned>(operation.length),
                            operation.offset);
    }
    aim(request, false);
    identify(request, operation);
}

std::optional<int> FileLane::cleared(Operation& operation, int result) noexcept {
    std::uint8_t& step = operation.step;
    if (step == flushing) return result;
    if (step == writing_zeros) {
        if (result <= 0) return result < 0 ? result : -EIO;
        operation.offset += static_cast<std::uint64_t>(result);
        operation.length -= static_cast<std::uint64_t>(result);
        if (operation.length > 0) {
            write_zeros(operation);
            return std::nullopt;
        }
    } else if (result == -EOPNOTSUPP || result == -EINVAL) {
        // EINVAL: not aligned to what the block device can clear, which the next one may be.
        auto& lacking = step == punching_hole ? limits_.no_punch_hole : limits_.no_zero_range;
        if (result == -EOPNOTSUPP) lacking.store(true, std::memory_order_relaxed);
        if (operation.kind == OperationKind::discard) return 0;  // only ever a hint
        ++step;
        clear(operation);
        return std::nullopt;
    } else if (result < 0) {
        return result;
    }
    if (!operation.durable) return 0;
    step = flushing;
    flush(operation);
    return std::nullopt;
}

}  // namespace viaduct::soft
