#include "vmm/console/output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <thread>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include "base/log.hpp"

namespace viaduct::console {
namespace {

/// What a descriptor that said it is writable takes without blocking: a pipe promises PIPE_BUF.
constexpr std::size_t cautious_size = 512;

bool writable(int fd, int timeout_ms) noexcept {
    pollfd wanted{fd, POLLOUT, 0};
    return ::poll(&wanted, 1, timeout_ms) > 0;
}

bool never_blocks(int fd) noexcept {
    struct stat found = {};
    const bool is_file = ::fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    return is_file || (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

}  // namespace

Output::Output(boost::asio::io_context& io, std::string name, Reader reader,
               std::function<void()> on_ready)
    : io_(io), name_(std::move(name)), reader_(reader), on_ready_(std::move(on_ready)) {}

void Output::connect(Descriptor& descriptor) {
    {
        const std::lock_guard lock(mutex_);
        descriptor_ = &descriptor;
        never_blocks_ = never_blocks(descriptor.native_handle());
    }
    flush();
}

void Output::disconnect() noexcept {
    bool resume = false;
    {
        const std::lock_guard lock(mutex_);
        descriptor_ = nullptr;
        if (kept_locked() > hold_at) {
            const std::size_t excess = kept_locked() - hold_at;
            discard_oldest(excess);
            lose(excess, Loss::no_reader, 0);
        }
        resume = std::exchange(guest_waits_, false);
    }
    if (resume) on_ready_();
}

bool Output::transmit(std::byte byte) noexcept {
    const std::lock_guard lock(mutex_);
    if (kept_locked() == 0 && descriptor_ != nullptr && write_once(&byte, 1) == 1) return true;
    keep(byte);
    if (descriptor_ == nullptr) return true;
    if (!std::exchange(flush_posted_, true)) {
        boost::asio::post(io_, lifeline_.bind([this] { flush(); }));
    }
    guest_waits_ = kept_locked() >= hold_at;
    return !guest_waits_;
}

void Output::drain(std::chrono::milliseconds patience) noexcept {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::milliseconds step(10);
    const std::lock_guard lock(mutex_);
    auto give_up = Clock::now() + patience;
    while (descriptor_ != nullptr && kept_locked() != 0 && Clock::now() < give_up) {
        const std::size_t before = kept_locked();
        (void)write_kept();
        if (kept_locked() < before) {
            give_up = Clock::now() + patience;
        } else if (descriptor_ != nullptr &&
                   writable(descriptor_->native_handle(), static_cast<int>(step.count()))) {
            std::this_thread::sleep_for(step);  // room for less than the next piece
        }
    }
    if (descriptor_ == nullptr || kept_locked() == 0) return;
    const std::size_t left = kept_locked();
    discard_oldest(left);
    lose(left, Loss::reader_gave_up, 0);
}

std::uint64_t Output::lost() const noexcept {
    const std::lock_guard lock(mutex_);
    return lost_;
}

std::size_t Output::kept() const noexcept {
    const std::lock_guard lock(mutex_);
    return kept_locked();
}

/// True when nothing is kept any more.
bool Output::write_kept() noexcept {
    while (descriptor_ != nullptr && kept_locked() != 0) {
        const std::size_t written = write_once(backlog_.data() + first_, kept_locked());
        if (written == 0) return false;
        discard_oldest(written);
    }
    return kept_locked() == 0;
}

/// How many of the bytes are done with: written, or lost to a descriptor that fails.
std::size_t Output::write_once(const std::byte* bytes, std::size_t size) noexcept {
    const int fd = descriptor_->native_handle();
    if (!never_blocks_) {
        if (!writable(fd, 0)) return 0;
        size = std::min(size, cautious_size);
    }
    while (true) {
        const ssize_t written = ::write(fd, bytes, size);
        if (written >= 0) return static_cast<std::size_t>(written);
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return 0;
        if (reader_ == Reader::comes_and_goes) {
            descriptor_ = nullptr;  // whoever watches the descriptor will say disconnect()
            return 0;
        }
        lose(size, Loss::reader_failed, errno);
        return size;
    }
}

void Output::discard_oldest(std::size_t count) noexcept {
    first_ += count;
    if (first_ < backlog_.size() && first_ < hold_at) return;
    backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
}

void Output::keep(std::byte byte) noexcept {
    if (descriptor_ == nullptr && kept_locked() >= hold_at) {
        discard_oldest(1);
        lose(1, Loss::no_reader, 0);
    } else if (kept_locked() >= limit) {
        lose(1, Loss::reader_slow, 0);
        return;
    }
    backlog_.push_back(byte);
}

void Output::lose(std::size_t count, Loss loss, int error) noexcept {
    lost_ += count;
    const unsigned bit = 1U << static_cast<unsigned>(loss);
    if ((reported_ & bit) != 0) return;
    reported_ |= bit;
    if (loss == Loss::reader_gave_up) {
        report(loss, error);  // at the end, when nothing runs what is posted
    } else {
        boost::asio::post(io_, lifeline_.bind([this, loss, error] { report(loss, error); }));
    }
}

void Output::report(Loss loss, int error) const {
    switch (loss) {
        case Loss::reader_failed:
            log::warning("serial output to {} is being lost: {}", name_,
                         std::generic_category().message(error));
            break;
        case Loss::reader_slow:
            log::warning(
                "serial output to {} is being lost: its reader is too slow and the guest "
                "does not wait for it ({} KiB are kept)",
                name_, limit / 1024);
            break;
        case Loss::no_reader:
            log::warning(
                "nobody reads the serial output at {}: the last {} KiB of it are kept, "
                "older output is lost",
                name_, hold_at / 1024);
            break;
        case Loss::reader_gave_up:
            log::warning("the end of the serial output to {} is lost: its reader takes no more",
                         name_);
            break;
    }
}

void Output::flush() {
    bool wait = false;
    bool resume = false;
    {
        const std::lock_guard lock(mutex_);
        flush_posted_ = false;
        if (descriptor_ == nullptr) return;
        wait = !write_kept() && descriptor_ != nullptr;
        flush_posted_ = wait;
        resume = kept_locked() <= hold_at / 2 && std::exchange(guest_waits_, false);
    }
    if (resume) on_ready_();
    if (wait) wait_for_reader();
}

void Output::wait_for_reader() {
    if (std::exchange(waiting_, true)) return;
    Descriptor* descriptor = nullptr;
    {
        const std::lock_guard lock(mutex_);
        descriptor = descriptor_;
    }
    if (descriptor == nullptr) {
        waiting_ = false;
        return;
    }
    descriptor->async_wait(Descriptor::wait_write,
                           lifeline_.bind([this](const boost::system::error_code& error) {
                               waiting_ = false;
                               // Aborted: it was closed, and another may have come.
                               if (!error || error == boost::asio::error::operation_aborted) {
                                   flush();
                               }
                           }));
}

}  // namespace viaduct::console
