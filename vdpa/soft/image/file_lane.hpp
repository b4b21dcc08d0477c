/// One engine's way into a FileImage: each operation becomes io_uring requests, one after the other
/// until it is done. Short reads and writes are continued; what the file does not support is done
/// the next best way.
#pragma once

#include "vdpa/soft/image/file_image.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::soft {

class FileLane final : public Lane {
public:
    /// `ring` is not enabled yet.
    FileLane(IoUring& ring, const FileAccess& access, FileLimits& limits,
             FailureLog& failures) noexcept;

    void start(Operation& operation) noexcept override;
    std::optional<int> proceed(Operation& operation, int result) noexcept override;

private:
    std::optional<int> go_on(Operation& operation, int result) noexcept;
    [[nodiscard]] bool fits_direct(const Operation& operation) const noexcept;
    void transfer(Operation& operation) noexcept;
    std::optional<int> transferred(Operation& operation, int result) noexcept;

    void clear(Operation& operation) noexcept;
    std::optional<int> cleared(Operation& operation, int result) noexcept;
    void write_zeros(Operation& operation) noexcept;
    void flush(Operation& operation) noexcept;

    /// Has the request go to the direct descriptor or to the other one.
    void aim(io_uring_sqe& request, bool direct) const noexcept;

    IoUring& ring_;
    const FileAccess& access_;
    FileLimits& limits_;
    FailureLog& failures_;
    bool registered_;  // the ring has both descriptors: buffered, direct
};

}  // namespace viaduct::soft
