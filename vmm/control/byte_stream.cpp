#include "vmm/control/byte_stream.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/error.hpp"

namespace viaduct::control {
namespace {

namespace asio = boost::asio;

int family_of(int socket) {
    int family = AF_UNSPEC;
    socklen_t length = sizeof family;
    ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &length);
    return family;
}

class SocketStream final : public ByteStream {
public:
    SocketStream(const asio::any_io_executor& executor, const Fd& socket) : socket_(executor) {
        const asio::generic::stream_protocol protocol(family_of(socket.get()), 0);
        // Asio closes what it is given, so it gets a descriptor of its own.
        const int own = ::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0);
        if (own < 0) throw SystemError("duplicating a client's socket");
        socket_.assign(protocol, own);
    }

    asio::awaitable<std::size_t> read_some(std::span<char> into) override {
        boost::system::error_code error;
        const auto size =
            co_await socket_.async_read_some(asio::buffer(into.data(), into.size()),
                                             asio::redirect_error(asio::use_awaitable, error));
        co_return error ? 0 : size;
    }

    asio::awaitable<std::size_t> write_some(std::string_view bytes) override {
        boost::system::error_code error;
        const auto size =
            co_await socket_.async_write_some(asio::buffer(bytes.data(), bytes.size()),
                                              asio::redirect_error(asio::use_awaitable, error));
        co_return error ? 0 : size;
    }

    void close() noexcept override {
        boost::system::error_code ignored;
        socket_.close(ignored);
    }

private:
    asio::generic::stream_protocol::socket socket_;
};

}  // namespace

std::unique_ptr<ByteStream> socket_stream(const asio::any_io_executor& executor, const Fd& socket) {
    return std::make_unique<SocketStream>(executor, socket);
}

}  // namespace viaduct::control
