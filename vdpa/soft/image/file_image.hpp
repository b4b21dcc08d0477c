/// A raw image in a file or on a block device. It is opened twice: once with O_DIRECT where the
/// file system allows it, for requests that meet its alignment, and once through the page cache for
/// the rest. An advisory lock (F_OFD_SETLK, which QEMU respects too) keeps two machines from
/// writing one image; read-only ones share it. Each of the two descriptions has its own, on a range
/// of its own, so that a description whose I/O is still under way holds up who comes next.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "base/fd.hpp"
#include "vdpa/soft/image/failure_log.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::soft {

enum class DirectIo { automatic, on, off };

struct FileImageOptions {
    std::string path;
    bool read_only = false;
    DirectIo direct = DirectIo::automatic;
    /// How long to wait for a lock that somebody else has. A process that was killed is gone before
    /// its io_uring is, which holds the lock until its last I/O is done: some milliseconds,
    /// usually.
    std::chrono::milliseconds lock_patience{1000};
    /// A name that one process has at a time, and its successor: it waits for that one's last I/O
    /// where a lock that readers share would not make it. Empty: nobody succeeds.
    std::string owner{};
};

/// What the file has turned out not to support, learnt by trying; shared by all lanes.
struct FileLimits {
    std::atomic<bool> no_punch_hole = false;
    std::atomic<bool> no_zero_range = false;
};

/// The two descriptors, and what a request must be aligned to for the direct one.
struct FileAccess {
    int buffered = -1;
    int direct = -1;                     // -1: there is none
    std::uint32_t memory_alignment = 1;  // bytes, a power of two
    std::uint32_t offset_alignment = 1;  // bytes, a power of two; of lengths too
};

class FileImage final : public Image {
public:
    /// Throws Error when the path cannot serve as a disk.
    explicit FileImage(const FileImageOptions& options);

    [[nodiscard]] const std::string& name() const noexcept override { return path_; }
    [[nodiscard]] const Geometry& geometry() const noexcept override { return geometry_; }
    std::uint64_t measure_again() override;
    [[nodiscard]] std::unique_ptr<Lane> open_lane(IoUring& ring) override;

    [[nodiscard]] const FileAccess& access() const noexcept { return access_; }

private:
    void open();
    /// `from` and `length` as in struct flock.
    void lock(const Fd& description, off_t from, off_t length) const;
    /// Readers: the byte that stands for the owner's name.
    void lock_name(const Fd& description) const;
    void wait_for_the_last_owner() const;
    [[noreturn]] void refuse_locked() const;
    void warn_of_no_lock() const;
    void measure();
    [[nodiscard]] std::uint64_t size_now() const;
    /// True when it works.
    bool open_direct();

    std::string path_;
    std::chrono::milliseconds lock_patience_;
    std::string owner_;
    Geometry geometry_;
    Fd buffered_;
    Fd direct_;
    FileAccess access_;
    FileLimits limits_;
    FailureLog failures_;
};

}  // namespace viaduct::soft
