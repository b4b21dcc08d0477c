#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <exception>
#include <string_view>

#include <boost/asio/steady_timer.hpp>

#include "base/log.hpp"
#include "base/log_allowance.hpp"
#include "base/unix_listener.hpp"
#include "vmm/console/backends.hpp"
#include "vmm/console/stream_backend.hpp"

namespace viaduct::console {
namespace {

constexpr std::string_view occupied = "viaduct: another client has this serial port\r\n";

bool hung_up(int fd) {
    pollfd asked{fd, 0, 0};
    return ::poll(&asked, 1, 0) > 0 && (asked.revents & (POLLHUP | POLLERR)) != 0;
}

bool has_unread_bytes(int fd) {
    int count = 0;
    return ::ioctl(fd, FIONREAD, &count) == 0 && count > 0;
}

class SocketBackend final : public StreamBackend {
public:
    SocketBackend(boost::asio::io_context& io, const std::string& path)
        : StreamBackend(io, path, Output::Reader::comes_and_goes),
          listener_("--serial", path),
          listening_(io),
          pause_(io),
          client_(io) {
        listening_.assign(listener_.fd());
        wait_for_client();
    }
    SocketBackend(const SocketBackend&) = delete;
    SocketBackend& operator=(const SocketBackend&) = delete;
    ~SocketBackend() override {
        finish();
        listening_.release();  // the listener's
    }

private:
    void wait_for_client() {
        listening_.async_wait(Descriptor::wait_read,
                              lifeline_.bind([this](const boost::system::error_code& error) {
                                  if (error) return;
                                  try {
                                      accept_client();
                                      wait_for_client();
                                  } catch (const std::exception& failure) {
                                      failures_.warning("{}", failure.what());
                                      rest();
                                  }
                              }));
    }

    /// A client that could not be accepted still waits, and would be seen again at once.
    void rest() {
        pause_.expires_after(UnixListener::rest);
        pause_.async_wait(lifeline_.bind([this](const boost::system::error_code& error) {
            if (!error) wait_for_client();
        }));
    }

    void accept_client() {
        Fd accepted = listener_.accept();
        if (!accepted) return;
        if (client_.is_open() && gone_) {
            log::warning(
                "serial {}: input of a client that left is lost: the guest does not read it",
                listener_.path());
            leave();
        }
        if (client_.is_open()) {
            (void)::send(accepted.get(), occupied.data(), occupied.size(), MSG_NOSIGNAL);
            return;
        }
        client_.assign(accepted.get());
        (void)accepted.release();
        ++client_number_;
        ended_ = false;
        gone_ = false;
        output_.connect(client_);
        input_.connect(client_, [this](int error) { on_end(error); });
        watch_hangup();
    }

    /// A client may close its sending side and still read: only a hang-up ends its connection.
    void watch_hangup() {
        client_.async_wait(
            Descriptor::wait_error,
            lifeline_.bind([this, number = client_number_](const boost::system::error_code& error) {
                if (error || number != client_number_ || !client_.is_open()) return;
                if (hung_up(client_.native_handle())) {
                    on_hangup();
                } else {
                    watch_hangup();
                }
            }));
    }

    /// What the client sent before it left is still read.
    void on_hangup() {
        gone_ = true;
        output_.disconnect();
        if (ended_ || !has_unread_bytes(client_.native_handle())) leave();
    }

    void on_end(int error) {
        ended_ = true;
        if (error != 0 || gone_ || hung_up(client_.native_handle())) leave();
    }

    void leave() {
        input_.disconnect();
        output_.disconnect();
        client_.close();
    }

    UnixListener listener_;
    Descriptor listening_;
    boost::asio::steady_timer pause_;
    LogAllowance failures_{"--serial unix:" + listener_.path()};
    Descriptor client_;
    unsigned client_number_ = 0;
    bool ended_ = false;  // the client sends no more
    bool gone_ = false;   // it reads no more
};

}  // namespace

std::unique_ptr<SerialBackend> open_unix_socket(boost::asio::io_context& io,
                                                const std::string& path) {
    return std::make_unique<SocketBackend>(io, path);
}

}  // namespace viaduct::console
