/// One engine's way into a FileImage: each operation becomes io_uring requests, one after the other
/// until it is done. Short reads and writes are continued; what the file does not support is done
/// the next best way.
#pragma once

#include "vdpa/soft/image/file_image.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::soft {

class FileLane final : public Lane {
public:
    FileLane(IoUring& ring, const FileAccess& access, FileLimits& limits) noexcept
        : ring_(ring), access_(access), limits_(limits) {}

    void start(Operation& operation) noexcept override;
    std::optional<int> proceed(Operation& operation, int result) noexcept override;

private:
    [[nodiscard]] bool fits_direct(const Operation& operation) const noexcept;
    void transfer(Operation& operation) noexcept;
    std::optional<int> transferred(Operation& operation, int result) noexcept;

    void clear(Operation& operation) noexcept;
    std::optional<int> cleared(Operation& operation, int result) noexcept;
    void write_zeros(Operation& operation) noexcept;
    void flush(Operation& operation) noexcept;

    IoUring& ring_;
    const FileAccess& access_;
    FileLimits& limits_;
};

}  // namespace viaduct::soft
