/// One engine's way into an RBD image. librbd's own threads do the work, on guest memory itself;
/// they hand each operation back through a list and an eventfd, for which the engine's io_uring
/// waits.
///
/// librbd cannot cancel: what is abandoned is waited for, which the cluster's time limits bound.
/// It copies what it moves, so a guest, which may name the same memory many times over, gets no
/// more moved at a time by a queue than a bound; what is beyond it waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/event_fd.hpp"
#include "vdpa/soft/image/image.hpp"
#include "vdpa/soft/image/rbd/rbd_image.hpp"

namespace viaduct::soft {

class RbdLane final : public Lane {
public:
    RbdLane(IoUring& ring, RbdImage& image);
    RbdLane(const RbdLane&) = delete;
    RbdLane& operator=(const RbdLane&) = delete;
    /// Nothing is in flight; waits for librbd's threads to let go.
    ~RbdLane() override;

    /// Of data, of one operation and of all that are under way.
    static constexpr std::uint64_t most_bytes = std::uint64_t{64} << 20;

    void start(Operation& operation) noexcept override;
    /// Never called: no operation is a request in the io_uring.
    std::optional<int> proceed(Operation& operation, int result) noexcept override;
    void on_event(std::uint64_t tag, int result) noexcept override;
    void abandon() noexcept override;

private:
    /// An operation under way.
    struct Slot {
        RbdLane* lane = nullptr;
        Operation* operation = nullptr;
        Slot* next = nullptr;     // that is free, that waits, or that has come back
        std::uint64_t bytes = 0;  // of data, while it is under way
        bool flushes = false;     // the write is done, and is now made durable
        int result = 0;           // librbd's
    };

    void issue_waiting() noexcept;
    void issue(Slot& slot) noexcept;
    [[nodiscard]] int begin(const Slot& slot, rbd_completion_t completion) noexcept;
    void finish(Slot& slot, int outcome) noexcept;
    void take_back(Slot& slot) noexcept;
    void arm() noexcept;
    static void on_done(rbd_completion_t completion, void* slot);

    IoUring& ring_;
    RbdImage& image_;
    std::vector<Slot> slots_;
    Slot* free_ = nullptr;
    Slot* first_waiting_ = nullptr;
    Slot* last_waiting_ = nullptr;  // while there is a first
    std::uint64_t bytes_ = 0;       // of data, under way
    bool armed_ = false;
    EventFd done_;
    std::atomic<Slot*> came_back_ = nullptr;      // the latest first
    std::uint64_t issued_ = 0;                    // to librbd
    std::atomic<std::uint64_t> handed_back_ = 0;  // by its threads, which touch nothing after that
};

}  // namespace viaduct::soft
