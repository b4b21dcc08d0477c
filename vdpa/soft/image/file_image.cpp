#include "vdpa/soft/image/file_image.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>

#include "base/error.hpp"
#include "base/log.hpp"
#include "vdpa/soft/image/file_lane.hpp"

namespace viaduct::soft {
namespace {

constexpr std::uint32_t sector = 512;
constexpr std::uint32_t page = 4096;
/// From here on the lock is the direct description's, below the other's.
constexpr off_t direct_lock = off_t{1} << 62;
constexpr off_t direct_lock_length = off_t{1} << 61;
/// And from here on, to the end of all files, a byte stands for a reader's name.
constexpr off_t name_locks = direct_lock + direct_lock_length;

/// As fcntl(2) wants it.
struct flock range_of(short type, off_t from, off_t length) {
    struct flock range {};
    range.l_type = type;
    range.l_whence = SEEK_SET;
    range.l_start = from;
    range.l_len = length;
    return range;
}

off_t byte_of(const std::string& name) {
    return name_locks + static_cast<off_t>(std::hash<std::string>()(name) % direct_lock_length);
}

struct stat status_of(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) return status;
    if (errno == ENOENT) {
        throw Error(
            "image '{}' does not exist: check the path, or make a disk of 1 GiB with "
            "`truncate -s 1G {}`",
            path, path);
    }
    throw SystemError(fmt::format("image '{}'", path));
}

/// Whether a direct descriptor takes requests that are aligned to `alignment` and no more than
/// that.
bool reads_aligned_to(int fd, std::uint32_t alignment) {
    alignas(page) std::array<std::byte, std::size_t{2} * page> room{};
    return ::pread(fd, room.data() + alignment, alignment, 0) > 0;
}

}  // namespace

FileImage::FileImage(const FileImageOptions& options)
    : path_(options.path),
      lock_patience_(options.lock_patience),
      owner_(options.read_only ? options.owner : ""),
      failures_(options.path, "in the file system") {
    geometry_.read_only = options.read_only;
    open();
    wait_for_the_last_owner();
    lock(buffered_, 0, direct_lock);
    lock_name(buffered_);
    measure();
    access_.buffered = buffered_.get();
    if (options.direct == DirectIo::off) return;
    if (!open_direct() && options.direct == DirectIo::on) {
        throw Error(
            "image '{}' takes no direct I/O (O_DIRECT), its file system does not support "
            "it: leave direct=on away, or move the image",
            path_);
    }
}

void FileImage::open() {
    const struct stat status = status_of(path_);
    if (S_ISDIR(status.st_mode)) {
        throw Error(
            "image '{}' is a directory: give the path of a raw disk image or a block device",
            path_);
    }
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        throw Error(
            "image '{}' is neither a file nor a block device: give the path of a raw disk "
            "image or a block device",
            path_);
    }
    buffered_ = Fd(::open(path_.c_str(), (geometry_.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (buffered_) return;
    const char* access = geometry_.read_only ? "reading" : "reading and writing";
    if (errno == EACCES || errno == EPERM || errno == EROFS) {
        const SystemError reason(fmt::format("image '{}' cannot be opened for {}", path_, access));
        throw Error("{}: give this user the permission{}", reason.what(),
                    geometry_.read_only ? "" : ", or attach it with readonly=on");
    }
    throw SystemError(fmt::format("image '{}' cannot be opened for {}", path_, access));
}

void FileImage::lock(const Fd& description, off_t from, off_t length) const {
    auto range = range_of(geometry_.read_only ? F_RDLCK : F_WRLCK, from, length);
    const auto deadline = std::chrono::steady_clock::now() + lock_patience_;
    while (::fcntl(description.get(), F_OFD_SETLK, &range) != 0) {
        if (errno != EAGAIN && errno != EACCES) return warn_of_no_lock();
        if (std::chrono::steady_clock::now() >= deadline) refuse_locked();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

void FileImage::lock_name(const Fd& description) const {
    if (!owner_.empty()) lock(description, byte_of(owner_), 1);
}

void FileImage::wait_for_the_last_owner() const {
    if (owner_.empty()) return;
    const auto deadline = std::chrono::steady_clock::now() + lock_patience_;
    while (true) {
        // Who asks for less than a writer's lock is not told of readers.
        auto range = range_of(F_WRLCK, byte_of(owner_), 1);
        if (::fcntl(buffered_.get(), F_OFD_GETLK, &range) != 0 || range.l_type == F_UNLCK) return;
        if (std::chrono::steady_clock::now() >= deadline) {
            throw Error(
                "image '{}': the last I/O of the process that served {} before is still "
                "under way: try again when it is done",
                path_, owner_);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

void FileImage::refuse_locked() const {
    throw Error(
        "image '{}' is in use, another process has locked it, and two machines must not {} at the "
        "same time: stop the other one, or give each its own copy{}",
        path_, geometry_.read_only ? "read and write it" : "write it",
        geometry_.read_only ? "" : " (several may share it with readonly=on)");
}

void FileImage::warn_of_no_lock() const {
    const SystemError reason("locking");
    log::warning(
        "image '{}' cannot be locked ({}): nothing prevents a second machine from using it", path_,
        reason.what());
}

void FileImage::measure() {
    const std::uint64_t size = size_now();
    if (size == 0) {
        throw Error("image '{}' is empty: give it a size, say 1 GiB with `truncate -s 1G {}`",
                    path_, path_);
    }
    if (size % sector != 0) {
        throw Error(
            "image '{}' has {} bytes, which is not a multiple of 512: is it a raw image? If "
            "so, `truncate -s {} {}` fills up its last sector",
            path_, size, (size / sector + 1) * sector, path_);
    }
    geometry_.size = size;
    struct stat status {};
    unsigned physical = 0;
    if (::fstat(buffered_.get(), &status) != 0) {
        throw SystemError(fmt::format("image '{}'", path_));
    }
    if (!S_ISBLK(status.st_mode)) {
        physical = static_cast<unsigned>(status.st_blksize);
    } else if (::ioctl(buffered_.get(), BLKPBSZGET, &physical) != 0) {
        physical = sector;
    }
    physical = std::clamp(physical, sector, page);
    geometry_.physical_block = (physical & (physical - 1)) == 0 ? physical : sector;
}

std::uint64_t FileImage::size_now() const {
    const off_t end = ::lseek(buffered_.get(), 0, SEEK_END);
    if (end < 0) throw SystemError(fmt::format("size of image '{}'", path_));
    return static_cast<std::uint64_t>(end);
}

std::uint64_t FileImage::measure_again() {
    const std::uint64_t size = size_now() / sector * sector;
    geometry_.size = std::max(geometry_.size, size);
    return size;
}

bool FileImage::open_direct() {
    // Not by its path, which may by now name another file.
    const std::string self = fmt::format("/proc/self/fd/{}", buffered_.get());
    const int mode = geometry_.read_only ? O_RDONLY : O_RDWR;
    Fd direct(::open(self.c_str(), mode | O_DIRECT | O_CLOEXEC));
    if (!direct) return false;
    for (const std::uint32_t alignment : {sector, page}) {
        if (!reads_aligned_to(direct.get(), alignment)) continue;
        lock(direct, direct_lock, direct_lock_length);
        lock_name(direct);
        direct_ = std::move(direct);
        access_.direct = direct_.get();
        access_.memory_alignment = alignment;
        access_.offset_alignment = alignment;
        return true;
    }
    return false;
}

std::unique_ptr<Lane> FileImage::open_lane(IoUring& ring) {
    return std::make_unique<FileLane>(ring, access_, limits_, failures_);
}

}  // namespace viaduct::soft
