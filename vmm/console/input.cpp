#include "vmm/console/input.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include "base/log.hpp"

namespace viaduct::console {
namespace {

constexpr std::size_t piece = 4096;
constexpr std::size_t pending_limit = std::size_t{64} * 1024;
constexpr std::chrono::seconds ask_again(1);

}  // namespace

void Input::attach(devices::Serial& serial) {
    serial_ = &serial;
    offer();
}

void Input::connect(Descriptor& descriptor, std::function<void(int)> on_end) {
    descriptor_ = &descriptor;
    on_end_ = std::move(on_end);
    wait();
}

void Input::put(Bytes bytes) {
    const std::size_t room = pending_limit - std::min(pending_limit, pending_.size());
    if (bytes.size() > room) {
        if (!std::exchange(said_lost_, true)) {
            log::warning("the guest does not read its serial port: input beyond {} KiB is lost",
                         pending_limit / 1024);
        }
        bytes = bytes.first(room);
    }
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    offer();
}

void Input::put_break() {
    if (serial_ == nullptr || !pending_.empty() || !serial_->receive_break()) {
        log::warning("the guest does not read its serial port: the break was not sent");
    }
}

void Input::room_for_input() noexcept {
    boost::asio::post(io_, lifeline_.bind([this] { offer(); }));
}

void Input::offer() {
    if (serial_ != nullptr && !pending_.empty()) {
        const std::size_t taken = serial_->receive(pending_);
        pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken));
    }
    wait();
}

bool Input::is_full() const noexcept {
    return waits_for_guest_ && pending_.size() >= piece;
}

void Input::wait() {
    if (descriptor_ == nullptr || waiting_ || is_full()) return;
    waiting_ = true;
    if (may_read_ && !may_read_()) {
        retry_.expires_after(ask_again);
        retry_.async_wait(lifeline_.bind([this](const boost::system::error_code& /*error*/) {
            waiting_ = false;
            wait();
        }));
        return;
    }
    // Waiting alone leaves the descriptor in the mode in which others share it; reading through
    // Asio would make it non-blocking.
    descriptor_->async_wait(Descriptor::wait_read,
                            lifeline_.bind([this](const boost::system::error_code& error) {
                                waiting_ = false;
                                // A file cannot be waited for (epoll(7)) and need not be.
                                if (!error || error == boost::asio::error::operation_not_supported)
                                    read_once();
                                wait();
                            }));
}

void Input::read_once() {
    if (descriptor_ == nullptr || (may_read_ && !may_read_())) return;
    std::array<std::byte, piece> bytes{};
    const ssize_t size = ::read(descriptor_->native_handle(), bytes.data(), bytes.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        descriptor_ = nullptr;
        // By value: the callback may connect another.
        if (const auto ended = std::exchange(on_end_, nullptr)) ended(size == 0 ? 0 : errno);
        return;
    }
    const Bytes read(bytes.data(), static_cast<std::size_t>(size));
    if (filter_) {
        filter_(read);
    } else {
        put(read);
    }
}

}  // namespace viaduct::console
