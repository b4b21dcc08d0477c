/// Memory in a file of somebody else's, who may cut the file short at any time. A touch of what is
/// gone would be a SIGBUS, and the end of us and of all whom we serve. While a LentMemory is there,
/// it finds zeros instead, in pages of this process's own: who lent the memory has hurt nobody but
/// itself. The kernel's own accesses, io_uring's for instance, fail with EFAULT either way.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace viaduct::vduse {

class LentMemory {
public:
    /// `bytes`: a mapping, or whole pages of one, that outlives this. The first one of the process
    /// installs a handler of SIGBUS. Throws Error when there are too many.
    explicit LentMemory(std::span<std::byte> bytes);
    LentMemory(LentMemory&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    LentMemory& operator=(LentMemory&& other) noexcept {
        std::swap(slot_, other.slot_);
        return *this;
    }
    LentMemory(const LentMemory&) = delete;
    LentMemory& operator=(const LentMemory&) = delete;
    ~LentMemory();

    struct Slot;

private:
    Slot* slot_;
};

}  // namespace viaduct::vduse
