#include "vdpa/soft/image/nbd/nbd_connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace viaduct::soft {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::steady_clock::duration shortest_interval = 50ms;
constexpr std::chrono::steady_clock::duration longest_interval = 1s;
/// A server that takes the connection and does not answer is left alone after this.
constexpr std::chrono::steady_clock::duration longest_attempt = 10s;

bool has_bytes(int socket) noexcept {
    std::byte first{};
    return ::recv(socket, &first, sizeof first, MSG_PEEK | MSG_DONTWAIT) > 0;
}

}  // namespace

NbdConnection::NbdConnection(IoUring& ring, NbdImage& image)
    : ring_(ring), image_(image), handle_(image.take_spare()) {
    if (!handle_) return;
    if (const auto terms = terms_of(handle_.get())) {
        terms_ = *terms;
        notice_a_silent_end(handle_.get());
        up_ = true;
        proven_ = true;
    } else {
        handle_.reset();
    }
}

NbdConnection::~NbdConnection() {
    if (reported_lost_) image_.report().forget_lost();
}

std::uint64_t NbdConnection::tag(Wait wait) const noexcept {
    return first_lane_tag + static_cast<std::uint64_t>(wait) + std::uint64_t{4} * generation_;
}

void NbdConnection::wait_for(int fd, short events, Wait wait) noexcept {
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_poll_add(&request, fd, static_cast<unsigned>(events));
    io_uring_sqe_set_data64(&request, tag(wait));
}

void NbdConnection::arm_polls() noexcept {
    const unsigned direction = nbd_aio_get_direction(handle_.get());
    const int fd = nbd_aio_get_fd(handle_.get());
    if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0 && !readable_armed_) {
        wait_for(fd, POLLIN, Wait::readable);
        readable_armed_ = true;
    }
    if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0 && !writable_armed_) {
        wait_for(fd, POLLOUT, Wait::writable);
        writable_armed_ = true;
    }
}

void NbdConnection::arm_timer() noexcept {
    auto next = next_step_;
    if (!given_up_) next = std::min(next, lost_since_ + image_.reconnect_delay());
    timer_.arm(next - Clock::now());
    if (timer_armed_) return;
    wait_for(timer_.fd(), POLLIN, Wait::timer);
    timer_armed_ = true;
}

void NbdConnection::on_event(std::uint64_t tag, int result) noexcept {
    const std::uint64_t number = tag - first_lane_tag;
    const auto wait = static_cast<Wait>(number % 4);
    if (closed_ || wait == Wait::removed) return;
    if (wait == Wait::timer) {
        timer_armed_ = false;
        (void)timer_.take();
        if (!up_) on_timer();
        return;
    }
    if (!handle_ || number / 4 != generation_) return;
    (wait == Wait::readable ? readable_armed_ : writable_armed_) = false;
    if (result < 0) return;
    if (wait == Wait::readable) return read_all();
    if (nbd_aio_notify_write(handle_.get()) != 0) error_ = nbd_reason();
}

void NbdConnection::read_all() noexcept {
    // One call reads one reply at most. Called without anything to be read, libnbd waits for a
    // reply and sends nothing meanwhile, which the server may be waiting for.
    const int fd = nbd_aio_get_fd(handle_.get());
    std::uint64_t before = 0;
    do {
        before = commands_;
        if (nbd_aio_notify_read(handle_.get()) != 0) error_ = nbd_reason();
    } while (commands_ != before && has_bytes(fd));
}

NbdConnection::Changes NbdConnection::check() noexcept {
    if (closed_) return {};
    if (!begun_) {
        begun_ = true;
        if (!up_) {
            lost_since_ = Clock::now();
            attempt();
        }
    }
    while (handle_ && look()) {
    }
    if (handle_) arm_polls();
    if (!up_) arm_timer();
    return std::exchange(changes_, {});
}

bool NbdConnection::look() noexcept {
    nbd_handle* const handle = handle_.get();
    if (up_ && ending_) {
        lose("it is shutting down");
        return true;
    }
    if (nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1) {
        if (error_.empty()) error_ = "it has closed the connection";
        up_ ? lose(error_) : attempt_failed(error_);
        return true;
    }
    if (up_ || nbd_aio_is_connecting(handle) == 1) return false;
    on_connected();
    return true;
}

void NbdConnection::on_timer() noexcept {
    give_up_if_late();
    if (Clock::now() < next_step_) return;
    if (handle_) {
        attempt_failed("it does not answer");
    } else {
        attempt();
    }
}

void NbdConnection::attempt() noexcept {
    ++generation_;
    ending_ = false;
    error_.clear();
    handle_ = begin_to_connect(image_.name());
    if (!handle_) return attempt_failed(nbd_reason());
    next_step_ = Clock::now() + longest_attempt;
}

void NbdConnection::attempt_failed(const std::string& reason) noexcept {
    drop();
    reason_ = reason;
    if (!std::exchange(reported_lost_, true)) image_.report().lost(reason);
    interval_ = std::clamp(2 * interval_, shortest_interval, longest_interval);
    next_step_ = Clock::now() + interval_;
    give_up_if_late();
}

void NbdConnection::on_connected() noexcept {
    const auto terms = terms_of(handle_.get());
    const std::string difference =
        terms ? image_.difference(*terms) : "the server's block sizes make no sense";
    if (!difference.empty()) {
        if (difference != last_change_) image_.report().changed(difference);
        last_change_ = difference;
        return attempt_failed(difference);
    }
    last_change_.clear();
    terms_ = *terms;
    notice_a_silent_end(handle_.get());
    up_ = true;
    up_since_ = Clock::now();
    first_try_.reset();
    proven_ = false;
    given_up_ = false;
    changes_.up = true;
    if (std::exchange(reported_lost_, false)) image_.report().back();
}

void NbdConnection::lose(const std::string& reason) noexcept {
    up_ = false;
    changes_ = {.lost = true, .given_up = false, .up = false};
    drop();
    reason_ = reason;
    if (!std::exchange(reported_lost_, true)) image_.report().lost(reason);
    // A server that ends over each command, or with each connection, has the time of one loss. But
    // for one that was left in peace it is another.
    const bool has_stood = first_try_.value_or(Clock::now()) - up_since_ >= longest_interval;
    if (!proven_ && !has_stood) return attempt_failed(reason);
    lost_since_ = Clock::now();
    interval_ = {};
    attempt();
}

void NbdConnection::give_up_if_late() noexcept {
    if (given_up_ || Clock::now() < lost_since_ + image_.reconnect_delay()) return;
    given_up_ = true;
    changes_.given_up = true;
    image_.report().given_up(reason_);
}

void NbdConnection::drop() noexcept {
    // A poll keeps the socket open, and the server would not see that it was closed.
    for (const auto& [armed, wait] : {std::pair{&readable_armed_, Wait::readable},
                                      std::pair{&writable_armed_, Wait::writable}}) {
        if (!std::exchange(*armed, false)) continue;
        io_uring_sqe& request = ring_.next_request();
        io_uring_prep_poll_remove(&request, tag(wait));
        io_uring_sqe_set_data64(&request, tag(Wait::removed));
    }
    handle_.reset();
}

void NbdConnection::close() noexcept {
    up_ = false;
    closed_ = true;
    drop();
}

void NbdConnection::give_back() {
    if (!up_ || nbd_aio_is_ready(handle_.get()) != 1) return;
    up_ = false;
    image_.give_back(std::move(handle_));
}

}  // namespace viaduct::soft
