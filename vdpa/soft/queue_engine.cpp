#include "vdpa/soft/queue_engine.hpp"

#include <poll.h>

#include <algorithm>
#include <bit>

#include "base/error.hpp"

namespace viaduct::soft {
namespace {

/// user_data of what is not an operation, whose user_data is its address.
constexpr std::uint64_t kick_tag = 1;
constexpr std::uint64_t order_tag = 2;
constexpr std::uint64_t cancel_tag = 3;

/// Requests in an io_uring beside those of operations: two polls and a cancellation, and the
/// lane's.
constexpr unsigned other_requests = 3 + most_lane_requests;

/// With more of them in one call the kernel holds each back until the last is prepared
/// (IO_PLUG_THRESHOLD, Linux: io_uring/io_uring.c), and the disk waits.
constexpr unsigned submitted_together = 2;

/// An image's library may want more than we do: looking up a server's name, or its certificate.
constexpr std::size_t stack_bytes = std::size_t{512} * 1024;

/// A chain has a header and a status beside its data; one that is no longer than the ring is let
/// through to be answered with an error.
std::uint16_t longest_chain(std::uint16_t ring_size) noexcept {
    return std::max<std::uint16_t>(ring_size, most_segments + 2);
}

/// The engine is the only one to write. release: who sees the count sees what was counted done.
void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

}  // namespace

QueueEngine::QueueEngine(EngineSetup setup, Image& image)
    : setup_(std::move(setup)),
      ring_(std::bit_ceil(setup_.ring.size() + other_requests)),
      lane_(image.open_lane(ring_)),
      pinned_(setup_.pin_memory && pin_memory()),
      left_behind_(left_behind(setup_)),
      view_(view_of(setup_, left_behind_.size())),
      chains_(setup_.ring, setup_.memory, setup_.indirect, longest_chain(setup_.ring.size())),
      protocol_(setup_.terms),
      requests_(setup_.ring.size()),
      // Not initialised: the pages come into being as heads are used.
      segments_(new iovec[std::size_t{most_segments} * setup_.ring.size()]),
      ranges_(new virtio_blk_discard_write_zeroes[std::size_t{most_ranges} * setup_.ring.size()]),
      thread_({.name = "soft-queue", .stack_bytes = stack_bytes}, setup_.name, [this] { run(); }) {}

bool QueueEngine::pin_memory() {
    std::vector<iovec> memory;
    for (const MemoryRegion& region : setup_.memory.regions()) {
        if (region.writable) memory.push_back({region.bytes.data(), region.bytes.size()});
    }
    try {
        ring_.register_buffers(memory);
        return true;
    } catch (const Error& reason) {
        setup_.log.warning("{}: pin-memory: {}: going on without", setup_.name, reason.what());
        return false;
    }
}

std::vector<std::uint16_t> QueueEngine::left_behind(const EngineSetup& setup) {
    if (!setup.takes_over) return {};
    // acquire: the elements that the killed engine published are older than this.
    const virtio::RingIndex used(setup.ring.used_idx().load(std::memory_order_acquire));
    return setup.in_flight->unfinished(used, setup.ring.size());
}

virtio::SplitRingDeviceView QueueEngine::view_of(const EngineSetup& setup,
                                                 std::size_t taken_before) noexcept {
    if (!setup.takes_over) return {setup.ring, setup.event_idx, setup.base};
    const virtio::RingIndex used(setup.ring.used_idx().load(std::memory_order_acquire));
    return {setup.ring, setup.event_idx, used + static_cast<std::uint16_t>(taken_before), used};
}

QueueEngine::~QueueEngine() {
    if (!ends()) order(Order::abandon);
    wait();
}

void QueueEngine::order(Order order) noexcept {
    // Before the order: the pause that is reported next is this one's, not an earlier one's.
    if (order == Order::pause) paused_.store(false, std::memory_order_release);
    order_.store(order, std::memory_order_release);
    order_event_.signal();
}

void QueueEngine::wait_until_paused() const noexcept {
    paused_.wait(false, std::memory_order_acquire);
}

void QueueEngine::wait() noexcept {
    thread_.join();
}

void QueueEngine::run() noexcept {
    ring_.enable();
    arm(order_event_, order_tag);
    view_.take_over();
    take_left_behind();
    // The killed engine may have published and not interrupted; one too many is legal.
    if (setup_.takes_over) interrupt();
    while (true) {
        ring_.for_each_completion(
            [this](const io_uring_cqe& completion) { on_completion(completion); });
        take_reported();
        publish();
        if (takes()) take_available();
        take_reported();
        publish();
        if (ends() && in_flight_ == 0) break;
        if (ordered() == Order::abandon && !cancelled_) cancel_all();
        report_pause();
        sleep();
    }
    // Whoever has the ring next finds kicks asked for.
    if (ordered() == Order::drain) (void)view_.request_kicks();
}

void QueueEngine::report_pause() noexcept {
    // In this sequence: an order that is older than the reset of `paused_` is not taken for it.
    if (paused_.load(std::memory_order_acquire) || ordered() != Order::pause) return;
    // Whoever has the ring next finds kicks asked for.
    (void)view_.request_kicks();
    // release: where the ring stands goes with it.
    paused_.store(true, std::memory_order_release);
    paused_.notify_all();
}

void QueueEngine::arm(const EventFd& event, std::uint64_t tag) noexcept {
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_poll_add(&request, event.fd(), POLLIN);
    io_uring_sqe_set_data64(&request, tag);
}

void QueueEngine::watch_kick() noexcept {
    // One request for all kicks: it is edge-triggered, so that the count need not be read, and
    // whoever has the eventfd next takes what is left of it for a kick that came to nothing.
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_poll_multishot(&request, setup_.kick->fd(), POLLIN);
    io_uring_sqe_set_data64(&request, kick_tag);
    kick_armed_ = true;
}

void QueueEngine::on_kick(const io_uring_cqe& completion) noexcept {
    kick_armed_ = (completion.flags & IORING_CQE_F_MORE) != 0;
    if (completion.res > 0) count(setup_.counters.kicks);
}

void QueueEngine::cancel_all() noexcept {
    // A kernel that does not know how (before 5.19) lets the operations come to their end.
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_cancel64(&request, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(&request, cancel_tag);
    cancelled_ = true;
    lane_->abandon();
}

void QueueEngine::sleep() noexcept {
    bool more = false;
    if (takes()) {
        if (!kick_armed_ && setup_.kick != nullptr) watch_kick();
        more = view_.request_kicks();
    }
    ring_.submit(!more);
    if (takes()) view_.suppress_kicks();
}

void QueueEngine::take_left_behind() noexcept {
    for (const std::uint16_t head : left_behind_) {
        if (const auto fault = take(head)) return break_down(*fault);
    }
}

void QueueEngine::take_available() noexcept {
    const auto available = view_.available();
    if (!available) return break_down(virtio::RingFault::avail_index_jumped);
    for (std::uint16_t i = 0; i < *available; ++i) {
        if (const auto fault = take(view_.head())) return break_down(*fault);
        view_.take();
        if ((i + 1U) % submitted_together == 0 && i + 1U < *available) ring_.submit(false);
    }
}

std::optional<virtio::RingFault> QueueEngine::take(std::uint16_t head) noexcept {
    if (const auto fault = chains_.read(head)) return fault;
    BlockRequest& request = requests_[head];
    if (request.in_flight) return virtio::RingFault::head_in_flight;
    const RequestRoom room{{&segments_[std::size_t{most_segments} * head], most_segments},
                           {&ranges_[std::size_t{most_ranges} * head], most_ranges}};
    const Verdict verdict = protocol_.judge(chains_.chain(), room, request);
    if (verdict == Verdict::no_status) return virtio::RingFault::no_room_for_the_status;
    count(setup_.counters.requests);
    if (setup_.in_flight != nullptr) setup_.in_flight->take(head);
    request.in_flight = true;
    ++in_flight_;
    switch (verdict) {
        case Verdict::start:
            lane_->start(request);
            break;
        case Verdict::ok:
            finish(request, VIRTIO_BLK_S_OK);
            break;
        case Verdict::unsupported:
            finish(request, VIRTIO_BLK_S_UNSUPP);
            break;
        default:
            finish(request, VIRTIO_BLK_S_IOERR);
            break;
    }
    return std::nullopt;
}

void QueueEngine::break_down(virtio::RingFault fault) noexcept {
    broken_ = true;
    count(setup_.counters.ring_faults);
    setup_.log.warning("{}: {}: the queue stops until the guest resets the device", setup_.name,
                       virtio::describe(fault));
    setup_.needs_reset.store(true, std::memory_order_release);
    if (setup_.config_call != nullptr) setup_.config_call->signal();
}

void QueueEngine::on_completion(const io_uring_cqe& completion) noexcept {
    const std::uint64_t tag = completion.user_data;
    if (tag == kick_tag) return on_kick(completion);
    if (tag == order_tag) {
        (void)order_event_.take();
        return arm(order_event_, order_tag);
    }
    if (tag < first_operation_tag) {
        if (tag != cancel_tag) lane_->on_event(tag, completion.res);
        return;
    }
    // The lane put an operation's address there: one of requests_, which never move.
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(&completion));
    auto& request = static_cast<BlockRequest&>(*operation);
    if (ordered() == Order::abandon) {
        request.in_flight = false;
        --in_flight_;
        return;
    }
    const auto outcome = lane_->proceed(request, completion.res);
    if (outcome) on_outcome(request, *outcome);
}

void QueueEngine::take_reported() noexcept {
    while (Operation* const operation = lane_->take_reported()) {
        auto& request = static_cast<BlockRequest&>(*operation);
        if (ordered() == Order::abandon) {
            request.in_flight = false;
            --in_flight_;
        } else {
            on_outcome(request, request.outcome);
        }
    }
}

void QueueEngine::on_outcome(BlockRequest& request, int outcome) noexcept {
    if (outcome == 0 && BlockProtocol::advance(request)) return lane_->start(request);
    finish(request, outcome == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

void QueueEngine::finish(BlockRequest& request, std::uint8_t status) noexcept {
    const bool good = status == VIRTIO_BLK_S_OK;
    if (!good) count(setup_.counters.failed);
    *request.status = std::byte{status};
    if (setup_.in_flight != nullptr) setup_.in_flight->answer(request.head, view_.next_used());
    view_.put_used(request.head, good ? request.used_on_success : request.used_on_failure);
    request.in_flight = false;
    --in_flight_;
}

void QueueEngine::publish() noexcept {
    if (!view_.has_unpublished()) return;
    const bool wanted = view_.publish_used();
    if (setup_.in_flight != nullptr) setup_.in_flight->publish();
    if (wanted) interrupt();
}

void QueueEngine::interrupt() noexcept {
    if (setup_.call == nullptr) return;
    setup_.call->raise();
    count(setup_.counters.calls);
}

}  // namespace viaduct::soft
