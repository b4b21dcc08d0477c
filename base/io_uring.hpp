/// An io_uring instance (io_uring_setup(2), through liburing) with one owner, for the use of one
/// thread: made anywhere, enabled and used by that thread, destroyed when that thread is done.
///
/// The owner sees to it that no more than `entries` requests wait for submission and no more than
/// twice as many are in flight: then there is always room, for requests and for completions.
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace viaduct {

class IoUring {
public:
    /// Throws Error, with what to do about it, when the kernel has no io_uring for us.
    explicit IoUring(unsigned entries);
    IoUring(const IoUring&) = delete;
    IoUring& operator=(const IoUring&) = delete;
    ~IoUring();

    /// First of all, on the thread that will use it.
    void enable() const noexcept;

    // Before enable(), once each: what requests can name by its place in a table of the ring's,
    // which spares the kernel the finding, counting and pinning for each of them.

    /// Descriptors; they stay open with the ring. False when the kernel has no room for them.
    [[nodiscard]] bool register_files(std::span<const int> files) noexcept;
    /// Memory, which is pinned for as long as the ring is there: all of its pages come into being.
    /// Throws Error, with what to do about it, when that cannot be.
    void register_buffers(std::span<const iovec> memory);
    /// The place of registered memory that `piece` lies in, all of it.
    [[nodiscard]] std::optional<std::uint16_t> buffer_with(const iovec& piece) const noexcept;

    /// Requests that may wait for submission; no fewer than were asked for.
    [[nodiscard]] unsigned entries() const noexcept { return ring_.sq.ring_entries; }

    /// A request to be filled in by an io_uring_prep_ function, with `user_data` set afterwards.
    [[nodiscard]] io_uring_sqe& next_request() noexcept;

    /// Submits what was prepared and, with `wait`, sleeps until there is a completion.
    void submit(bool wait) noexcept;

    /// Calls `consume(completion)` for each that is there; it may prepare requests.
    template <typename Consume>
    void for_each_completion(Consume&& consume) noexcept {
        unsigned position = 0;
        unsigned count = 0;
        io_uring_cqe* completion = nullptr;
        io_uring_for_each_cqe(&ring_, position, completion) {
            consume(static_cast<const io_uring_cqe&>(*completion));
            ++count;
        }
        io_uring_cq_advance(&ring_, count);
    }

private:
    io_uring ring_{};
    std::vector<iovec> buffers_;  // that are registered, sorted
};

}  // namespace viaduct
