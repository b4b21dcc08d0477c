/// One engine's way to an NBD server: a connection, and many operations in flight on it. Data goes
/// between guest memory and the socket: nothing is copied here, but for buffers that are no
/// multiple of the blocks that the server takes.
///
/// When the connection is lost, what is in flight is kept and sent again on the next, from its
/// beginning and in its order. That is sound because nobody was told of its end. What the server
/// has said to be written and not to be flushed is the server's: if it has that in its own memory
/// and is killed, it is gone, and no later flush can tell.
///
/// When operations are abandoned the connection is closed. A write that the server had received by
/// then may still be carried out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "vdpa/soft/image/image.hpp"
#include "vdpa/soft/image/nbd/nbd_connection.hpp"
#include "vdpa/soft/image/nbd/nbd_image.hpp"
#include "vdpa/soft/image/nbd/nbd_segments.hpp"

namespace viaduct::soft {

class NbdLane final : public Lane {
public:
    NbdLane(IoUring& ring, NbdImage& image);
    NbdLane(const NbdLane&) = delete;
    NbdLane& operator=(const NbdLane&) = delete;
    ~NbdLane() override;

    void start(Operation& operation) noexcept override;
    /// Never called: no operation is a request in the io_uring.
    std::optional<int> proceed(Operation& operation, int result) noexcept override;
    void on_event(std::uint64_t tag, int result) noexcept override;
    void abandon() noexcept override;

private:
    enum class Stage : std::uint8_t {
        begin,
        direct,   // commands with the guest's own memory, or with none
        bounced,  // one command at a time, with bounce_
        zeros,    // zeroes by writing them
        flush,
        done,
    };

    /// An operation under way.
    struct Slot {
        NbdLane* lane = nullptr;
        Operation* operation = nullptr;
        // Its neighbours among those in flight, by the order of their start; of a free one, the
        // next that is free.
        Slot* before = nullptr;
        Slot* after = nullptr;
        Slot* next_ready = nullptr;
        bool ready = false;  // something has changed: it is to be driven
        Stage stage = Stage::begin;
        unsigned commands = 0;  // with the server
        int error = 0;          // the first, an errno
        // Of the stage: what is not yet with the server, in bytes, or 1 for a flush.
        std::uint64_t left = 0;
        NbdSegments segments;
    };

    [[nodiscard]] Slot& enter(Operation& operation) noexcept;
    void leave(Slot& slot, int outcome) noexcept;
    void make_ready(Slot& slot) noexcept;
    [[nodiscard]] Slot* take_ready() noexcept;

    void settle() noexcept;
    void rewind_all() noexcept;
    void fail_all(int error) noexcept;

    void drive(Slot& slot) noexcept;
    void begin(Slot& slot) noexcept;
    void send(Slot& slot) noexcept;
    void send_transfer(Slot& slot) noexcept;
    void send_bounced(Slot& slot) noexcept;
    void send_zeros(Slot& slot) noexcept;
    void end_stage(Slot& slot) noexcept;
    void on_error(Slot& slot) noexcept;
    /// Has the server do the next `length` bytes; true when it will answer.
    bool command(Slot& slot, std::byte* memory, std::uint64_t length) noexcept;
    [[nodiscard]] std::int64_t issue(const Slot& slot, std::byte* memory, std::uint64_t offset,
                                     std::uint64_t length, nbd_completion_callback done) noexcept;
    [[nodiscard]] bool needs_bounce(const Operation& operation) const noexcept;
    void release_bounce(const Slot& slot) noexcept;

    static int on_done(void* slot, int* error) noexcept;
    void on_command(Slot& slot, int error) noexcept;

    NbdImage& image_;
    std::vector<Slot> slots_;
    Slot* free_ = nullptr;
    Slot* oldest_ = nullptr;
    Slot* newest_ = nullptr;
    Slot* first_ready_ = nullptr;
    Slot* last_ready_ = nullptr;
    std::unique_ptr<std::byte[]> bounce_;
    const Slot* bounce_owner_ = nullptr;
    std::size_t bounced_ = 0;   // bytes with the server
    NbdConnection connection_;  // last: its commands name all of the above
};

}  // namespace viaduct::soft
