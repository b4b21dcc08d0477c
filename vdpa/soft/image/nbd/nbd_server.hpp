/// A connection to an NBD server as libnbd has it, with one owner, and what the server said of its
/// export when the connection was made.
#pragma once

#include <libnbd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace viaduct::soft {

struct NbdClose {
    void operator()(nbd_handle* handle) const noexcept { nbd_close(handle); }
};
/// Closing it drops what is in flight: after that nothing touches the memory of a command, and no
/// callback is called.
using NbdHandle = std::unique_ptr<nbd_handle, NbdClose>;

/// Begins to connect; the handle's own state says how it goes on. Null at once, with the reason in
/// nbd_get_error(), when it cannot even begin.
[[nodiscard]] NbdHandle begin_to_connect(const std::string& uri) noexcept;

/// What libnbd says of the last call on this thread that failed, without libnbd's own names.
[[nodiscard]] std::string nbd_reason();

/// A server whose machine has gone without a word is taken for lost after some seconds.
void notice_a_silent_end(nbd_handle* connected) noexcept;

/// What was agreed on with the server.
struct NbdTerms {
    std::uint64_t size = 0;             // bytes
    std::uint32_t minimum_block = 1;    // bytes, a power of two: offsets and lengths are multiples
    std::uint32_t preferred_block = 1;  // bytes, a power of two
    std::uint32_t maximum_block = 0;    // bytes, of one read or write; a multiple of the minimum
    bool read_only = false;
    bool multi_conn = false;  // what one connection flushes, every connection has written
    bool flush = false;
    bool fua = false;
    bool trim = false;
    bool zero = false;
};

/// Nothing when the handle is not connected or the server's block sizes are not powers of two.
[[nodiscard]] std::optional<NbdTerms> terms_of(nbd_handle* connected) noexcept;

}  // namespace viaduct::soft
