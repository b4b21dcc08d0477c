/// An io_uring instance (io_uring_setup(2), through liburing) with one owner, for the use of one
/// thread: made anywhere, enabled and used by that thread, destroyed when that thread is done.
///
/// The owner sees to it that no more than `entries` requests wait for submission and no more than
/// twice as many are in flight: then there is always room, for requests and for completions.
#pragma once

#include <liburing.h>

#include <cstdint>

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
};

}  // namespace viaduct
