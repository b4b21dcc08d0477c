#include "base/io_uring.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/error.hpp"

namespace viaduct {
namespace {

/// What saves interrupts and locks where the kernel knows it (6.1, 5.19), down to what any has. The
/// flag of a disabled ring (5.10) lets another thread than the one that uses it make it.
constexpr std::array<unsigned, 3> flag_sets{
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_R_DISABLED,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED,
    IORING_SETUP_R_DISABLED,
};

/// Of one registered buffer (io_uring_register_buffers(2)).
constexpr std::size_t largest_buffer = std::size_t{1} << 30;

const char* remedy(int error) {
    switch (error) {
        case ENOSYS:
        case EINVAL:
            return "Linux 5.10 or newer with CONFIG_IO_URING is needed";
        case EPERM:
        case EACCES:
            return "it is forbidden: look at `sysctl kernel.io_uring_disabled` (0 is needed), or "
                   "at "
                   "the seccomp profile of the container";
        case ENOMEM:
            return "the memory is not there, or over a limit: raise `ulimit -l`";
        case EMFILE:
        case ENFILE:
            return "too many open files: raise `ulimit -n`";
        default:
            return "the kernel's log may say why";
    }
}

std::size_t total_of(std::span<const iovec> memory) noexcept {
    std::size_t bytes = 0;
    for (const iovec& piece : memory) bytes += piece.iov_len;
    return bytes;
}

}  // namespace

IoUring::IoUring(unsigned entries) {
    int result = -EINVAL;
    for (const unsigned flags : flag_sets) {
        result = io_uring_queue_init(entries, &ring_, flags);
        if (result != -EINVAL) break;
    }
    if (result < 0) {
        const SystemError reason("io_uring_setup", -result);
        throw Error("cannot make an io_uring with {} entries ({}): {}", entries, reason.what(),
                    remedy(-result));
    }
}

IoUring::~IoUring() {
    io_uring_queue_exit(&ring_);
}

void IoUring::enable() const noexcept {
    // As io_uring_enable_rings() does it, which liburing 2.3 forgets to export.
    io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr,
                      0);
}

bool IoUring::register_files(std::span<const int> files) noexcept {
    return io_uring_register_files(&ring_, files.data(), static_cast<unsigned>(files.size())) == 0;
}

void IoUring::register_buffers(std::span<const iovec> memory) {
    std::vector<iovec> buffers;
    for (const iovec& piece : memory) {
        for (std::size_t at = 0; at < piece.iov_len; at += largest_buffer) {
            buffers.push_back({static_cast<std::byte*>(piece.iov_base) + at,
                               std::min(largest_buffer, piece.iov_len - at)});
        }
    }
    std::ranges::sort(buffers, {}, &iovec::iov_base);
    const int result =
        io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size()));
    if (result < 0) {
        const SystemError reason("io_uring_register", -result);
        throw Error("{} bytes cannot be pinned ({}): {}", total_of(memory), reason.what(),
                    remedy(-result));
    }
    buffers_ = std::move(buffers);
}

std::optional<std::uint16_t> IoUring::buffer_with(const iovec& piece) const noexcept {
    const auto after = std::ranges::upper_bound(buffers_, piece.iov_base, {}, &iovec::iov_base);
    if (after == buffers_.begin()) return std::nullopt;
    const iovec& buffer = *std::prev(after);
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(piece.iov_base) -
                                                 static_cast<const std::byte*>(buffer.iov_base));
    if (offset > buffer.iov_len || buffer.iov_len - offset < piece.iov_len) return std::nullopt;
    return static_cast<std::uint16_t>(std::prev(after) - buffers_.begin());
}

io_uring_sqe& IoUring::next_request() noexcept {
    io_uring_sqe* request = io_uring_get_sqe(&ring_);
    while (request == nullptr) {  // more than the owner promised: make room
        submit(false);
        request = io_uring_get_sqe(&ring_);
    }
    return *request;
}

void IoUring::submit(bool wait) noexcept {
    const int result = io_uring_submit_and_wait(&ring_, wait ? 1 : 0);
    if (result >= 0 || result == -EINTR || io_uring_cq_ready(&ring_) != 0) return;
    // The kernel is short of memory: what was prepared is still there, and the caller comes back.
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace viaduct
