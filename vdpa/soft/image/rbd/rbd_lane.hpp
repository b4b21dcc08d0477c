/// One engine's way into an RBD image. librbd's own threads do the work, on guest memory itself;
/// they hand each operation back through a list and an eventfd, for which the engine's io_uring
/// waits.
///
/// librbd cannot cancel: what is abandoned is waited for, which the cluster's time limits bound.
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
        Slot* next = nullptr;  // that is free, or that has come back
        bool flushes = false;  // the write is done, and is now made durable
        int result = 0;        // librbd's
    };

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
    bool armed_ = false;
    EventFd done_;
    std::atomic<Slot*> came_back_ = nullptr;      // the latest first
    std::uint64_t issued_ = 0;                    // to librbd
    std::atomic<std::uint64_t> handed_back_ = 0;  // by its threads, which touch nothing after that
};

}  // namespace viaduct::soft
