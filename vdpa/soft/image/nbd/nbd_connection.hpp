/// One lane's connection to the server, made again when it is lost: at once, and then at growing
/// intervals for as long as it takes. When the image's reconnect-delay has passed since the loss it
/// is given up, which means that requests need not wait for it; the attempts go on.
///
/// It waits in the engine's io_uring, for its socket and its timer. libnbd does the connecting
/// without blocking, but for one thing: a server's name is looked up while the engine waits, which
/// a numeric address or a unix socket does not need.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/io_uring.hpp"
#include "base/timer_fd.hpp"
#include "vdpa/soft/image/nbd/nbd_image.hpp"
#include "vdpa/soft/image/nbd/nbd_server.hpp"

namespace viaduct::soft {

class NbdConnection {
public:
    /// Uses a connection that the image has spare, if there is one.
    NbdConnection(IoUring& ring, NbdImage& image);
    NbdConnection(const NbdConnection&) = delete;
    NbdConnection& operator=(const NbdConnection&) = delete;
    ~NbdConnection();

    /// Null when there is none to be used.
    [[nodiscard]] nbd_handle* handle() const noexcept { return up_ ? handle_.get() : nullptr; }
    [[nodiscard]] const NbdTerms& terms() const noexcept { return terms_; }
    [[nodiscard]] NbdTerms& terms() noexcept { return terms_; }
    [[nodiscard]] bool given_up() const noexcept { return given_up_; }

    /// Of a request with a lane's tag.
    void on_event(std::uint64_t tag, int result) noexcept;

    /// What has become of it since the last call, the later below the earlier.
    struct Changes {
        bool lost = false;      // what was under way on it no longer is
        bool given_up = false;  // nobody need wait for it
        bool up = false;        // handle() can be used
        [[nodiscard]] bool any() const noexcept { return lost || given_up || up; }
    };
    /// To be called after calls on the handle: looks at its state, and waits for what it waits for.
    Changes check() noexcept;

    /// A command is on its way.
    void try_it() noexcept {
        if (!first_try_) first_try_ = Clock::now();
    }
    /// A command has come back: the connection works.
    void prove() noexcept {
        proven_ = true;
        ++commands_;
    }
    /// The server has said that it is about to end.
    void expect_end() noexcept { ending_ = true; }
    /// Closes what there is, for good.
    void close() noexcept;
    /// It works and nothing is in flight: the image may give it to another lane.
    void give_back();

private:
    using Clock = std::chrono::steady_clock;
    enum class Wait : std::uint8_t { readable, writable, timer, removed };

    [[nodiscard]] std::uint64_t tag(Wait wait) const noexcept;
    void wait_for(int fd, short events, Wait wait) noexcept;
    /// True when that has changed it, and it is to be looked at again.
    bool look() noexcept;
    void arm_polls() noexcept;
    void arm_timer() noexcept;
    void read_all() noexcept;
    void on_timer() noexcept;

    void attempt() noexcept;
    void attempt_failed(const std::string& reason) noexcept;
    void on_connected() noexcept;
    void lose(const std::string& reason) noexcept;
    void give_up_if_late() noexcept;
    void drop() noexcept;

    IoUring& ring_;
    NbdImage& image_;
    TimerFd timer_;
    NbdHandle handle_;
    NbdTerms terms_;
    Changes changes_;
    bool begun_ = false;
    bool closed_ = false;
    bool up_ = false;
    bool proven_ = false;  // this one, or the one before it, since the loss
    bool ending_ = false;
    bool given_up_ = false;
    bool reported_lost_ = false;
    bool readable_armed_ = false;
    bool writable_armed_ = false;
    bool timer_armed_ = false;
    std::uint8_t generation_ = 0;  // of the handle: answers of an earlier one's polls are not its
    std::uint64_t commands_ = 0;   // that have come back
    std::string error_;            // of the call that may have ended it
    std::string reason_;           // why the last one is gone, or did not come about
    std::string last_change_;      // that was told
    Clock::time_point up_since_;
    std::optional<Clock::time_point> first_try_;  // since then
    Clock::time_point lost_since_;
    Clock::time_point next_step_;  // the next attempt, or the end of this one
    Clock::duration interval_{};   // between attempts
};

}  // namespace viaduct::soft
