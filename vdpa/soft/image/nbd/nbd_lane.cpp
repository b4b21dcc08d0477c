#include "vdpa/soft/image/nbd/nbd_lane.hpp"

#include <algorithm>
#include <cerrno>

namespace viaduct::soft {
namespace {

/// With the server at the same time, of one operation.
constexpr unsigned most_commands = 128;

/// A multiple of any block size that is served.
constexpr std::size_t bounce_bytes = 65536;

/// Never written: the kernel backs all of it with its one zero page.
alignas(4096) std::byte nbd_zeros[std::size_t{256} * 1024];

bool moves_data(OperationKind kind) noexcept {
    return kind == OperationKind::read || kind == OperationKind::write;
}

/// What a server answers that cannot do this, or not here.
bool is_refusal(int error) noexcept {
    return error == ENOTSUP || error == EINVAL;
}

}  // namespace

NbdLane::NbdLane(IoUring& ring, NbdImage& image)
    : image_(image),
      slots_(ring.entries()),
      // Not initialised: the pages come into being if they are used.
      bounce_(new std::byte[bounce_bytes]),
      connection_(ring, image) {
    for (Slot& slot : slots_) {
        slot.lane = this;
        slot.after = std::exchange(free_, &slot);
    }
}

NbdLane::~NbdLane() {
    if (oldest_ == nullptr) connection_.give_back();
}

NbdLane::Slot& NbdLane::enter(Operation& operation) noexcept {
    Slot& slot = *free_;  // there is one for each request that the engine can have in flight
    free_ = slot.after;
    slot = {};
    slot.lane = this;
    slot.operation = &operation;
    slot.before = newest_;
    (newest_ == nullptr ? oldest_ : newest_->after) = &slot;
    newest_ = &slot;
    return slot;
}

void NbdLane::leave(Slot& slot, int outcome) noexcept {
    release_bounce(slot);
    (slot.before == nullptr ? oldest_ : slot.before->after) = slot.after;
    (slot.after == nullptr ? newest_ : slot.after->before) = slot.before;
    report(*slot.operation, outcome);
    slot.operation = nullptr;
    slot.after = std::exchange(free_, &slot);
}

void NbdLane::make_ready(Slot& slot) noexcept {
    if (std::exchange(slot.ready, true)) return;
    slot.next_ready = nullptr;
    (first_ready_ == nullptr ? first_ready_ : last_ready_->next_ready) = &slot;
    last_ready_ = &slot;
}

NbdLane::Slot* NbdLane::take_ready() noexcept {
    Slot* const slot = first_ready_;
    if (slot == nullptr) return nullptr;
    first_ready_ = slot->next_ready;
    slot->ready = false;
    return slot;
}

void NbdLane::start(Operation& operation) noexcept {
    Slot& slot = enter(operation);
    if (connection_.given_up() && connection_.handle() == nullptr) return leave(slot, -EIO);
    make_ready(slot);
    settle();
}

std::optional<int> NbdLane::proceed(Operation& /*operation*/, int /*result*/) noexcept {
    return -EINVAL;
}

void NbdLane::on_event(std::uint64_t tag, int result) noexcept {
    connection_.on_event(tag, result);
    settle();
}

void NbdLane::abandon() noexcept {
    if (oldest_ == nullptr) return;
    connection_.close();
    rewind_all();
    fail_all(ECANCELED);
}

void NbdLane::settle() noexcept {
    NbdConnection::Changes changes;
    do {
        while (Slot* const slot = take_ready()) drive(*slot);
        changes = connection_.check();
        if (changes.lost) rewind_all();
        if (changes.given_up) fail_all(EIO);
        if (changes.up) {
            for (Slot* slot = oldest_; slot != nullptr; slot = slot->after) make_ready(*slot);
        }
    } while (changes.any() || first_ready_ != nullptr);
}

void NbdLane::rewind_all() noexcept {
    bounce_owner_ = nullptr;
    for (Slot* slot = oldest_; slot != nullptr; slot = slot->after) {
        slot->stage = Stage::begin;
        slot->commands = 0;
        slot->error = 0;
    }
}

void NbdLane::fail_all(int error) noexcept {
    while (oldest_ != nullptr) leave(*oldest_, -error);
    while (take_ready() != nullptr) {
    }
}

void NbdLane::drive(Slot& slot) noexcept {
    if (connection_.handle() == nullptr) return;  // until there is one
    if (slot.stage == Stage::begin) begin(slot);
    while (slot.stage != Stage::done) {
        if (slot.error == 0) send(slot);
        if (slot.commands != 0) return;
        if (slot.error != 0) {
            on_error(slot);
        } else if (slot.left == 0) {
            end_stage(slot);
        } else {
            return;  // it waits for the bounce buffer, or the connection has just ended
        }
    }
    leave(slot, -slot.error);
}

void NbdLane::begin(Slot& slot) noexcept {
    const Operation& operation = *slot.operation;
    const NbdTerms& terms = connection_.terms();
    slot.left = operation.length;
    slot.segments = NbdSegments(operation.segments);
    const std::uint64_t misaligned =
        (operation.offset | operation.length) & (terms.minimum_block - 1U);
    switch (operation.kind) {
        case OperationKind::read:
        case OperationKind::write:
            slot.stage = needs_bounce(operation) ? Stage::bounced : Stage::direct;
            break;
        case OperationKind::write_zeroes:
            slot.stage = terms.zero ? Stage::direct : Stage::zeros;
            break;
        case OperationKind::discard:  // only ever a hint
            slot.stage = terms.trim && misaligned == 0 ? Stage::direct : Stage::done;
            return;
        case OperationKind::flush:
            slot.stage = terms.flush ? Stage::flush : Stage::done;
            slot.left = 1;
            return;
    }
    if (misaligned == 0) return;
    // The guest was told what its blocks are.
    slot.error = EINVAL;
    slot.stage = Stage::done;
}

bool NbdLane::needs_bounce(const Operation& operation) const noexcept {
    const std::size_t mask = connection_.terms().minimum_block - 1U;
    return mask != 0 &&
           std::any_of(operation.segments.begin(), operation.segments.end(),
                       [&](const iovec& segment) { return (segment.iov_len & mask) != 0; });
}

void NbdLane::send(Slot& slot) noexcept {
    switch (slot.stage) {
        case Stage::direct:
            if (moves_data(slot.operation->kind)) return send_transfer(slot);
            [[fallthrough]];
        case Stage::flush:
            if (slot.left != 0) command(slot, nullptr, slot.left);
            return;
        case Stage::bounced:
            return send_bounced(slot);
        case Stage::zeros:
            return send_zeros(slot);
        case Stage::begin:
        case Stage::done:
            return;
    }
}

void NbdLane::send_transfer(Slot& slot) noexcept {
    while (slot.left != 0 && slot.commands < most_commands) {
        const auto piece = slot.segments.next(connection_.terms().maximum_block);
        if (!command(slot, piece.data(), piece.size())) return;
    }
}

void NbdLane::send_zeros(Slot& slot) noexcept {
    const std::uint64_t most =
        std::min<std::uint64_t>(connection_.terms().maximum_block, sizeof nbd_zeros);
    while (slot.left != 0 && slot.commands < most_commands) {
        if (!command(slot, nbd_zeros, std::min(slot.left, most))) return;
    }
}

void NbdLane::send_bounced(Slot& slot) noexcept {
    if (slot.commands != 0) return;
    if (bounce_owner_ != nullptr && bounce_owner_ != &slot) return;
    const bool reads = slot.operation->kind == OperationKind::read;
    if (bounce_owner_ == &slot && reads) slot.segments.copy_from({bounce_.get(), bounced_});
    bounced_ = static_cast<std::size_t>(
        std::min<std::uint64_t>({slot.left, connection_.terms().maximum_block, bounce_bytes}));
    if (bounced_ == 0) return;
    bounce_owner_ = &slot;
    if (!reads) slot.segments.copy_to({bounce_.get(), bounced_});
    command(slot, bounce_.get(), bounced_);
}

void NbdLane::release_bounce(const Slot& slot) noexcept {
    if (bounce_owner_ != &slot) return;
    bounce_owner_ = nullptr;
    for (Slot* other = oldest_; other != nullptr; other = other->after) {
        if (other != &slot && other->stage == Stage::bounced) return make_ready(*other);
    }
}

void NbdLane::end_stage(Slot& slot) noexcept {
    const Operation& operation = *slot.operation;
    const NbdTerms& terms = connection_.terms();
    const bool to_be_flushed = slot.stage != Stage::flush && operation.durable &&
                               operation.kind != OperationKind::read && !terms.fua && terms.flush;
    slot.stage = to_be_flushed ? Stage::flush : Stage::done;
    slot.left = to_be_flushed ? 1 : 0;
}

void NbdLane::on_error(Slot& slot) noexcept {
    const Operation& operation = *slot.operation;
    if (slot.stage == Stage::direct && is_refusal(slot.error)) {
        if (operation.kind == OperationKind::discard) {
            slot.error = 0;
            slot.stage = Stage::done;
            return;
        }
        if (operation.kind == OperationKind::write_zeroes) {
            if (slot.error == ENOTSUP) connection_.terms().zero = false;
            slot.error = 0;
            slot.stage = Stage::zeros;
            slot.left = operation.length;
            return;
        }
    }
    image_.failures().failed(operation.kind, operation.offset, slot.error);
    slot.stage = Stage::done;
}

bool NbdLane::command(Slot& slot, std::byte* memory, std::uint64_t length) noexcept {
    const Operation& operation = *slot.operation;
    const std::uint64_t offset = operation.offset + operation.length - slot.left;
    ++slot.commands;
    slot.left -= length;
    if (issue(slot, memory, offset, length,
              {.callback = on_done, .user_data = &slot, .free = nullptr}) >= 0) {
        connection_.try_it();
        return true;
    }
    const int error = nbd_get_errno();
    --slot.commands;
    slot.left += length;
    nbd_handle* const handle = connection_.handle();
    const bool ended = nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1;
    if (!ended) slot.error = error != 0 ? error : EIO;
    return false;
}

std::int64_t NbdLane::issue(const Slot& slot, std::byte* memory, std::uint64_t offset,
                            std::uint64_t length, nbd_completion_callback done) noexcept {
    const Operation& operation = *slot.operation;
    nbd_handle* const handle = connection_.handle();
    const std::uint32_t fua =
        operation.durable && connection_.terms().fua ? LIBNBD_CMD_FLAG_FUA : 0;
    if (slot.stage == Stage::flush) return nbd_aio_flush(handle, done, 0);
    switch (operation.kind) {
        case OperationKind::read:
            return nbd_aio_pread(handle, memory, length, offset, done, 0);
        case OperationKind::write:
            return nbd_aio_pwrite(handle, memory, length, offset, done, fua);
        case OperationKind::discard:
            return nbd_aio_trim(handle, length, offset, done, fua);
        case OperationKind::write_zeroes:
            if (memory != nullptr) {
                return nbd_aio_pwrite(handle, memory, length, offset, done, fua);
            }
            return nbd_aio_zero(handle, length, offset, done,
                                fua | (operation.may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
        case OperationKind::flush:
            break;
    }
    return -1;
}

int NbdLane::on_done(void* slot, int* error) noexcept {
    Slot& done = *static_cast<Slot*>(slot);
    done.lane->on_command(done, *error);
    return 1;  // libnbd may forget the command
}

void NbdLane::on_command(Slot& slot, int error) noexcept {
    // ENOTCONN is libnbd's own: the connection has ended. The slot stays as it is, incomplete,
    // until check() says so and it is sent again from its beginning.
    if (error == ENOTCONN) return;
    if (error == ESHUTDOWN) return connection_.expect_end();
    connection_.prove();
    --slot.commands;
    if (slot.error == 0) slot.error = error;
    make_ready(slot);
}

}  // namespace viaduct::soft
