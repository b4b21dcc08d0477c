#include "vdpa/soft/image/rbd/rbd_lane.hpp"

#include <poll.h>

#include <cerrno>
#include <utility>

namespace viaduct::soft {
namespace {

std::uint64_t data_of(const Operation& operation) noexcept {
    return operation.segments.empty() ? 0 : operation.length;
}

}  // namespace

RbdLane::RbdLane(IoUring& ring, RbdImage& image)
    : ring_(ring), image_(image), slots_(ring.entries()) {
    for (Slot& slot : slots_) {
        slot.lane = this;
        slot.next = std::exchange(free_, &slot);
    }
}

RbdLane::~RbdLane() {
    // The last operation was reported, but the thread that did may still be about to leave.
    for (auto seen = handed_back_.load(std::memory_order_acquire); seen != issued_;
         seen = handed_back_.load(std::memory_order_acquire)) {
    }
}

void RbdLane::start(Operation& operation) noexcept {
    if (!armed_) arm();
    Slot& slot = *free_;  // there is one for each request that the engine can have in flight
    free_ = slot.next;
    slot.operation = &operation;
    slot.flushes = false;
    slot.next = nullptr;
    if (data_of(operation) > most_bytes) {
        image_.failures().failed(operation.kind, operation.offset, EFBIG);
        return finish(slot, -EFBIG);
    }
    (first_waiting_ == nullptr ? first_waiting_ : last_waiting_->next) = &slot;
    last_waiting_ = &slot;
    issue_waiting();
}

void RbdLane::issue_waiting() noexcept {
    while (first_waiting_ != nullptr) {
        Slot& slot = *first_waiting_;
        const std::uint64_t bytes = data_of(*slot.operation);
        if (bytes_ + bytes > most_bytes) return;
        first_waiting_ = slot.next;
        slot.bytes = bytes;
        bytes_ += bytes;
        issue(slot);
    }
}

std::optional<int> RbdLane::proceed(Operation& /*operation*/, int /*result*/) noexcept {
    return -EINVAL;
}

void RbdLane::arm() noexcept {
    io_uring_sqe& request = ring_.next_request();
    io_uring_prep_poll_add(&request, done_.fd(), POLLIN);
    io_uring_sqe_set_data64(&request, first_lane_tag);
    armed_ = true;
}

void RbdLane::abandon() noexcept {
    while (Slot* const slot = first_waiting_) {
        first_waiting_ = slot->next;
        finish(*slot, -ECANCELED);
    }
    // The poll was cancelled with the engine's other requests, and is still needed.
    if (issued_ != handed_back_.load(std::memory_order_acquire) ||
        came_back_.load(std::memory_order_acquire) != nullptr) {
        arm();
    }
}

void RbdLane::on_event(std::uint64_t /*tag*/, int result) noexcept {
    if (result == -ECANCELED) return;
    (void)done_.take();
    arm();
    Slot* slot = came_back_.exchange(nullptr, std::memory_order_acquire);
    while (slot != nullptr) take_back(*std::exchange(slot, slot->next));
    issue_waiting();
}

void RbdLane::take_back(Slot& slot) noexcept {
    const Operation& operation = *slot.operation;
    if (slot.result < 0) {
        image_.failures().failed(operation.kind, operation.offset, -slot.result);
        return finish(slot, slot.result);
    }
    const bool changes =
        operation.kind != OperationKind::read && operation.kind != OperationKind::flush;
    if (changes && operation.durable && !slot.flushes) {
        slot.flushes = true;
        return issue(slot);
    }
    finish(slot, 0);
}

void RbdLane::finish(Slot& slot, int outcome) noexcept {
    bytes_ -= std::exchange(slot.bytes, 0);
    report(*slot.operation, outcome);
    slot.next = std::exchange(free_, &slot);
}

void RbdLane::issue(Slot& slot) noexcept {
    rbd_completion_t completion = nullptr;
    if (rbd_aio_create_completion(&slot, on_done, &completion) < 0) return finish(slot, -ENOMEM);
    ++issued_;
    const int result = begin(slot, completion);
    if (result >= 0) return;
    // It was not taken: on_done() is not called.
    --issued_;
    rbd_aio_release(completion);
    finish(slot, result);
}

int RbdLane::begin(const Slot& slot, rbd_completion_t completion) noexcept {
    const Operation& operation = *slot.operation;
    rbd_image_t image = image_.handle();
    const auto pieces = static_cast<int>(operation.segments.size());
    if (slot.flushes) return rbd_aio_flush(image, completion);
    switch (operation.kind) {
        case OperationKind::read:
            return rbd_aio_readv(image, operation.segments.data(), pieces, operation.offset,
                                 completion);
        case OperationKind::write:
            return rbd_aio_writev(image, operation.segments.data(), pieces, operation.offset,
                                  completion);
        case OperationKind::flush:
            return rbd_aio_flush(image, completion);
        case OperationKind::discard:
            return rbd_aio_discard(image, operation.offset, operation.length, completion);
        case OperationKind::write_zeroes:
            return rbd_aio_write_zeroes(
                image, operation.offset, operation.length, completion,
                operation.may_unmap ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION, 0);
    }
    return -EINVAL;
}

void RbdLane::on_done(rbd_completion_t completion, void* slot) {
    Slot& done = *static_cast<Slot*>(slot);
    RbdLane& lane = *done.lane;
    done.result = static_cast<int>(rbd_aio_get_return_value(completion));
    rbd_aio_release(completion);
    done.next = lane.came_back_.load(std::memory_order_relaxed);
    // release: who takes the list sees the slot.
    while (!lane.came_back_.compare_exchange_weak(done.next, &done, std::memory_order_release,
                                                  std::memory_order_relaxed)) {
    }
    lane.done_.signal();
    // Last: the lane may be gone once it sees this.
    lane.handed_back_.fetch_add(1, std::memory_order_release);
}

}  // namespace viaduct::soft
