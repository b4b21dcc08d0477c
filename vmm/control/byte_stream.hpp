/// What a connection reads from and writes to: a socket, or a pair of descriptors (stdio).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "base/fd.hpp"

namespace viaduct::control {

class ByteStream {
public:
    ByteStream() = default;
    ByteStream(const ByteStream&) = delete;
    ByteStream& operator=(const ByteStream&) = delete;
    virtual ~ByteStream() = default;

    /// Waits for bytes; how many came, 0 when no more will (end, error or `close`).
    virtual boost::asio::awaitable<std::size_t> read_some(std::span<char> into) = 0;
    /// Waits until some bytes were taken; how many, 0 when the peer takes no more.
    virtual boost::asio::awaitable<std::size_t> write_some(std::string_view bytes) = 0;
    /// Ends both directions; whoever waits above gets 0.
    virtual void close() noexcept = 0;
};

/// A connected stream socket of any family; keeps a descriptor of its own.
[[nodiscard]] std::unique_ptr<ByteStream> socket_stream(
    const boost::asio::any_io_executor& executor, const Fd& socket);

/// One descriptor for each direction, of whatever kind and mode: what another process shares is not
/// made non-blocking, and is asked before each access instead.
[[nodiscard]] std::unique_ptr<ByteStream> descriptor_stream(
    const boost::asio::any_io_executor& executor, Fd in, Fd out);

}  // namespace viaduct::control
