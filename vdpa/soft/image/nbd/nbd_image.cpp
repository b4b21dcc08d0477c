#include "vdpa/soft/image/nbd/nbd_image.hpp"

#include <poll.h>

#include <algorithm>

#include "base/error.hpp"
#include "vdpa/soft/image/nbd/nbd_lane.hpp"

namespace viaduct::soft {
namespace {

constexpr std::uint32_t nbd_sector = 512;
constexpr std::uint32_t nbd_page = 4096;

/// For a server to take a connection and say what it has.
constexpr std::chrono::seconds patience{10};

/// Waits until the connection stands; false when it takes too long. Throws Error with the reason
/// when there will be none.
bool finish_connecting(nbd_handle* handle) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + patience;
    while (nbd_aio_is_connecting(handle) == 1) {
        const unsigned direction = nbd_aio_get_direction(handle);
        pollfd wish{nbd_aio_get_fd(handle), 0, 0};
        if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) wish.events |= POLLIN;
        if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) wish.events |= POLLOUT;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
        if (left.count() <= 0) return false;
        if (::poll(&wish, 1, static_cast<int>(left.count())) <= 0) continue;
        const bool readable = (wish.revents & ~POLLOUT) != 0 && (wish.events & POLLIN) != 0;
        const int result = readable ? nbd_aio_notify_read(handle) : nbd_aio_notify_write(handle);
        if (result != 0 && nbd_aio_is_connecting(handle) != 1) throw Error("{}", nbd_reason());
    }
    if (nbd_aio_is_ready(handle) != 1) throw Error("{}", nbd_reason());
    return true;
}

NbdHandle connect_now(const std::string& uri, unsigned number, unsigned count) {
    try {
        NbdHandle handle = begin_to_connect(uri);
        if (!handle) throw Error("{}", nbd_reason());
        if (finish_connecting(handle.get())) return handle;
    } catch (const Error& reason) {
        throw Error(
            "image '{}': the NBD server cannot be reached ({}): is it running, and is this the "
            "URI that it serves?",
            uri, reason.what());
    }
    if (number == 1) {
        throw Error(
            "image '{}': something takes the connection and does not answer as an NBD server "
            "within {} s: is it one, and does it serve another client only (qemu-nbd: "
            "--shared=2)?",
            uri, patience.count());
    }
    throw Error(
        "image '{}': the NBD server does not answer on connection {} of {} within {} s: it may "
        "serve fewer clients at a time (qemu-nbd: --shared={}); or use queues=1",
        uri, number, count, patience.count(), count);
}

}  // namespace

NbdReport::NbdReport(std::string name, std::chrono::seconds delay)
    : name_(std::move(name)),
      delay_(delay),
      connection_(fmt::format("image '{}', connection", name_)) {}

void NbdReport::lost(const std::string& reason) noexcept {
    if (lost_.fetch_add(1, std::memory_order_relaxed) != 0) return;
    connection_.warning(
        "image '{}': the connection to the server is lost ({}): reconnecting, "
        "requests wait for up to {} s",
        name_, reason, delay_.count());
}

void NbdReport::back() noexcept {
    if (lost_.fetch_sub(1, std::memory_order_relaxed) != 1) return;
    gave_up_.store(false, std::memory_order_relaxed);
    connection_.warning("image '{}': the connection to the server is back", name_);
}

void NbdReport::given_up(const std::string& reason) noexcept {
    if (gave_up_.exchange(true, std::memory_order_relaxed)) return;
    connection_.error(
        "image '{}': no connection for {} s (reconnect-delay; {}): requests fail until the server "
        "is back",
        name_, delay_.count(), reason);
}

void NbdReport::changed(const std::string& what) noexcept {
    connection_.error("image '{}': {}: not connected to it", name_, what);
}

NbdImage::NbdImage(const ImageOptions& options)
    : uri_(options.name),
      delay_(options.reconnect_delay),
      report_(uri_, delay_),
      failures_(uri_, "at the server"),
      geometry_{.read_only = options.read_only} {
    spare_.push_back(connect_now(uri_, 1, options.lanes));
    const auto terms = terms_of(spare_.front().get());
    if (!terms) {
        throw Error(
            "image '{}': the server's size or block sizes make no sense: look at them with "
            "`nbdinfo`",
            uri_);
    }
    check(*terms, options.lanes);
    describe(*terms);
    while (spare_.size() < options.lanes) {
        spare_.push_back(
            connect_now(uri_, static_cast<unsigned>(spare_.size() + 1), options.lanes));
    }
}

void NbdImage::check(const NbdTerms& terms, unsigned lanes) const {
    if (terms.read_only && !geometry_.read_only) {
        throw Error(
            "image '{}': the server exports it read-only: attach it with readonly=on, or have the "
            "server export it for writing",
            uri_);
    }
    if (terms.size == 0 || terms.size % std::max(terms.minimum_block, nbd_sector) != 0) {
        throw Error("image '{}' has {} bytes: a disk needs a multiple of {}, and more than none",
                    uri_, terms.size, std::max(terms.minimum_block, nbd_sector));
    }
    if (terms.minimum_block > nbd_page) {
        throw Error(
            "image '{}': the server takes requests in blocks of {} bytes at least, guests' disks "
            "have blocks of up to {}: have it take smaller ones (nbdkit: "
            "--filter=blocksize minblock=4096)",
            uri_, terms.minimum_block, nbd_page);
    }
    if (lanes > 1 && !terms.multi_conn) {
        throw Error(
            "image '{}': queues={} were asked for, and the server does not promise that a flush "
            "on one connection covers what was written on another (multi-conn): use queues=1, or "
            "a server that does (qemu-nbd: --shared={})",
            uri_, lanes, lanes);
    }
}

void NbdImage::describe(const NbdTerms& terms) {
    geometry_.size = terms.size;
    geometry_.logical_block = std::max(terms.minimum_block, nbd_sector);
    geometry_.physical_block = std::clamp(terms.preferred_block, geometry_.logical_block, nbd_page);
}

std::string NbdImage::difference(const NbdTerms& terms) const {
    if (terms.size != geometry_.size) {
        return fmt::format("the server is back with {} bytes where there were {}", terms.size,
                           geometry_.size);
    }
    if (terms.minimum_block > geometry_.logical_block) {
        return fmt::format("the server is back with blocks of {} bytes where there were {}",
                           terms.minimum_block, geometry_.logical_block);
    }
    if (terms.read_only && !geometry_.read_only) return "the server is back read-only";
    return {};
}

std::uint64_t NbdImage::measure_again() {
    throw Error(
        "image '{}': an NBD server tells an export's size when it is connected to, and no more: "
        "the disk grows when it is exported anew",
        uri_);
}

std::unique_ptr<Lane> NbdImage::open_lane(IoUring& ring) {
    return std::make_unique<NbdLane>(ring, *this);
}

NbdHandle NbdImage::take_spare() noexcept {
    if (spare_.empty()) return {};
    NbdHandle handle = std::move(spare_.back());
    spare_.pop_back();
    return handle;
}

void NbdImage::give_back(NbdHandle handle) {
    spare_.push_back(std::move(handle));
}

void provide_nbd() noexcept {
    provide(NetworkImage::nbd, [](const ImageOptions& options) -> std::unique_ptr<Image> {
        return std::make_unique<NbdImage>(options);
    });
}

}  // namespace viaduct::soft
