#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "vmm/control/byte_stream.hpp"

namespace viaduct::control {
namespace {

namespace asio = boost::asio;

/// A pipe that poll(2) calls writable takes this much without waiting.
constexpr std::size_t piece = PIPE_BUF;

class DescriptorStream final : public ByteStream {
public:
    DescriptorStream(const asio::any_io_executor& executor, Fd in, Fd out)
        : in_(executor, in.release()), out_(executor, out.release()) {}

    asio::awaitable<std::size_t> read_some(std::span<char> into) override {
        while (co_await ready(in_, Descriptor::wait_read)) {
            const ssize_t size = ::read(in_.native_handle(), into.data(), into.size());
            if (size >= 0) co_return static_cast<std::size_t>(size);
            if (!may_try_again()) break;
        }
        co_return 0;
    }

    asio::awaitable<std::size_t> write_some(std::string_view bytes) override {
        while (co_await ready(out_, Descriptor::wait_write)) {
            const ssize_t size = write_piece(bytes.substr(0, piece));
            if (size >= 0) co_return static_cast<std::size_t>(size);
            if (!may_try_again()) break;
        }
        co_return 0;
    }

    void close() noexcept override {
        boost::system::error_code ignored;
        in_.close(ignored);
        out_.close(ignored);
    }

private:
    using Descriptor = asio::posix::stream_descriptor;

    /// False when it will never be.
    static asio::awaitable<bool> ready(Descriptor& descriptor, Descriptor::wait_type direction) {
        if (!descriptor.is_open()) co_return false;
        const auto [error] =
            co_await descriptor.async_wait(direction, asio::as_tuple(asio::use_awaitable));
        // A file cannot be waited for (epoll(7)) and need not be.
        co_return descriptor.is_open() && (!error || error == asio::error::operation_not_supported);
    }

    static bool may_try_again() { return errno == EAGAIN || errno == EINTR; }

    ssize_t write_piece(std::string_view bytes) {
        // A socket that is writable may still have room for less than that.
        const ssize_t sent =
            ::send(out_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0 || errno != ENOTSOCK) return sent;
        return ::write(out_.native_handle(), bytes.data(), bytes.size());
    }

    Descriptor in_;
    Descriptor out_;
};

}  // namespace

std::unique_ptr<ByteStream> descriptor_stream(const asio::any_io_executor& executor, Fd in,
                                              Fd out) {
    return std::make_unique<DescriptorStream>(executor, std::move(in), std::move(out));
}

}  // namespace viaduct::control
