#include "vdpa/soft/image/nbd/nbd_server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <string_view>

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace viaduct::soft {
namespace {

/// What a server takes that does not say (the NBD protocol, "Block size constraints"); more than
/// twice as much libnbd does not take.
constexpr std::uint32_t usual_maximum = 32U << 20;
constexpr std::uint32_t usual_preferred = 4096;

constexpr int silence_before_a_probe = 5;  // seconds
constexpr int silence_between_probes = 3;  // seconds
constexpr int probes = 3;

std::uint32_t block_size(nbd_handle* handle, int which, std::uint32_t usual) noexcept {
    const std::int64_t size = nbd_get_block_size(handle, which);
    if (size <= 0) return usual;
    return static_cast<std::uint32_t>(std::min<std::int64_t>(size, usual_maximum));
}

}  // namespace

NbdHandle begin_to_connect(const std::string& uri) noexcept {
    NbdHandle handle(nbd_create());
    // Reads go to guest memory, which holds something already: not to be cleared before.
    if (!handle || nbd_set_pread_initialize(handle.get(), false) != 0 ||
        // A key of TLS may lie in a file that the operator's URI names.
        nbd_set_uri_allow_local_file(handle.get(), true) != 0 ||
        nbd_aio_connect_uri(handle.get(), uri.c_str()) != 0) {
        return {};
    }
    return handle;
}

std::string nbd_reason() {
    const char* const error = nbd_get_error();
    std::string_view text = error != nullptr ? error : "no reason was given";
    // "nbd_aio_connect_uri: connect: No such file or directory"
    if (text.starts_with("nbd_") && text.find(": ") != std::string_view::npos) {
        text.remove_prefix(text.find(": ") + 2);
    }
    return std::string(text);
}

void notice_a_silent_end(nbd_handle* connected) noexcept {
    const int fd = nbd_aio_get_fd(connected);
    const auto set = [fd](int level, int option, int value) {
        ::setsockopt(fd, level, option, &value, sizeof value);  // a unix socket needs none of it
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, silence_before_a_probe);
    set(IPPROTO_TCP, TCP_KEEPINTVL, silence_between_probes);
    set(IPPROTO_TCP, TCP_KEEPCNT, probes);
    // What was sent and is not acknowledged keeps the probes back: the same time for that.
    set(IPPROTO_TCP, TCP_USER_TIMEOUT,
        1000 * (silence_before_a_probe + silence_between_probes * probes));
}

std::optional<NbdTerms> terms_of(nbd_handle* connected) noexcept {
    const std::int64_t size = nbd_get_size(connected);
    if (size < 0) return std::nullopt;
    NbdTerms terms;
    terms.size = static_cast<std::uint64_t>(size);
    terms.minimum_block = block_size(connected, LIBNBD_SIZE_MINIMUM, 1);
    terms.preferred_block = std::max(block_size(connected, LIBNBD_SIZE_PREFERRED, usual_preferred),
                                     terms.minimum_block);
    if (!std::has_single_bit(terms.minimum_block) || !std::has_single_bit(terms.preferred_block)) {
        return std::nullopt;
    }
    const std::uint32_t maximum = block_size(connected, LIBNBD_SIZE_MAXIMUM, usual_maximum);
    terms.maximum_block = std::max(maximum & ~(terms.minimum_block - 1), terms.minimum_block);
    // -1, an error, is what a server that is not connected has: that was seen above.
    terms.read_only = nbd_is_read_only(connected) == 1;
    terms.multi_conn = nbd_can_multi_conn(connected) == 1;
    terms.flush = nbd_can_flush(connected) == 1;
    terms.fua = nbd_can_fua(connected) == 1;
    terms.trim = nbd_can_trim(connected) == 1;
    terms.zero = nbd_can_zero(connected) == 1;
    return terms;
}

}  // namespace viaduct::soft
