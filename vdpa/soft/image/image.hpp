/// What stands behind the embedded disk: a linear array of bytes, in a file, on a block device, or
/// across a network. An Image is the disk as a whole and belongs to the device's control
/// thread; a Lane is one engine's way into it, asynchronous, through the engine's own io_uring.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/io_uring.hpp"

namespace viaduct::soft {

enum class OperationKind : std::uint8_t { read, write, flush, discard, write_zeroes };

/// One operation under way. Its address is the user_data of its io_uring requests, of which there
/// is one at a time. A lane may also do it in another way, and report its end.
struct Operation {
    OperationKind kind = OperationKind::read;
    bool durable = false;         // complete only when it would survive a power failure
    bool may_unmap = false;       // write_zeroes: the space may be given back
    std::uint64_t offset = 0;     // bytes; the lane moves it on
    std::uint64_t length = 0;     // bytes that remain; 0 for a flush
    std::span<iovec> segments{};  // read and write: the memory that remains, `length` in all
    std::uint8_t step = 0;        // the lane's own, 0 to begin with
    // Of one that was reported.
    int outcome = 0;  // 0 or a negative errno
    Operation* next_reported = nullptr;
};

/// user_data of requests that a lane makes for itself, to wait for a socket for instance: from the
/// first of these up to the lowest address that an operation may have.
inline constexpr std::uint64_t first_lane_tag = 16;
inline constexpr std::uint64_t first_operation_tag = 4096;
/// How many of them a lane may have waiting for submission.
inline constexpr unsigned most_lane_requests = 8;

class Lane {
public:
    Lane() = default;
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    virtual ~Lane() = default;

    /// Prepares a request in the io_uring, which the engine submits, or has it done in another way
    /// and reports its end, perhaps at once.
    virtual void start(Operation& operation) noexcept = 0;
    /// The request has come back with `result`. The operation's own result, 0 or a negative errno,
    /// or nothing when it goes on with another request.
    virtual std::optional<int> proceed(Operation& operation, int result) noexcept = 0;

    /// A request that the lane made for itself has come back.
    virtual void on_event(std::uint64_t /*tag*/, int /*result*/) noexcept {}
    /// The operations that are requests in the io_uring are cancelled by the engine; this is for
    /// the others: when it returns, none of them will touch memory, and each has been reported, or
    /// will be as soon as that is true.
    virtual void abandon() noexcept {}

    /// The first of the operations that were reported, which is then the caller's again; null when
    /// there is none.
    [[nodiscard]] Operation* take_reported() noexcept {
        Operation* const first = first_reported_;
        if (first != nullptr) first_reported_ = std::exchange(first->next_reported, nullptr);
        return first;
    }

protected:
    /// `operation` has come to its end: `outcome` is 0 or a negative errno.
    void report(Operation& operation, int outcome) noexcept {
        operation.outcome = outcome;
        operation.next_reported = nullptr;
        (first_reported_ == nullptr ? first_reported_ : last_reported_->next_reported) = &operation;
        last_reported_ = &operation;
    }

private:
    Operation* first_reported_ = nullptr;
    Operation* last_reported_ = nullptr;  // while there is a first
};

struct Geometry {
    std::uint64_t size = 0;              // bytes, a multiple of 512
    std::uint32_t logical_block = 512;   // bytes, a power of two: what must be aligned to
    std::uint32_t physical_block = 512;  // bytes, a power of two: what is best aligned to
    bool read_only = false;
};

class Image {
public:
    Image() = default;
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;
    virtual ~Image() = default;

    /// What people call it: its path.
    [[nodiscard]] virtual const std::string& name() const noexcept = 0;
    [[nodiscard]] virtual const Geometry& geometry() const noexcept = 0;
    /// Its size now, in bytes, which is the geometry's from then on unless it is less. Throws Error
    /// where that cannot be known while it is open.
    virtual std::uint64_t measure_again() { return geometry().size; }
    /// `ring` and the image outlive the lane.
    [[nodiscard]] virtual std::unique_ptr<Lane> open_lane(IoUring& ring) = 0;
};

}  // namespace viaduct::soft
