#include "vdpa/export/state_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/error.hpp"

namespace viaduct::vduse {
namespace {

/// "viaduct" and the version of what follows.
constexpr std::uint64_t magic = 0x0174637564616976;
constexpr std::size_t header_bytes = 4096;

constexpr mode_t owner_only = 0600;
constexpr mode_t folder_mode = 0755;

std::size_t bytes_for(const DeviceShape& shape) noexcept {
    return header_bytes +
           std::size_t{shape.queues} * shape.queue_size * sizeof(soft::InFlightEntry);
}

struct flock whole_file() noexcept {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    return range;
}

/// The process that wrote itself into the file, or 0.
pid_t pid_in(const Fd& file, std::size_t offset) noexcept {
    std::int32_t pid = 0;
    const ssize_t length = ::pread(file.get(), &pid, sizeof(pid), static_cast<off_t>(offset));
    return length == sizeof(pid) ? pid : 0;
}

}  // namespace

struct StateFile::Header {
    std::uint64_t magic = 0;
    std::int32_t pid = 0;
    DeviceShape shape;
    std::uint8_t status = 0;
};

StateFile::StateFile(const std::string& folder, const std::string& name)
    : path_(folder + "/" + name) {
    static_assert(sizeof(Header) <= header_bytes);
    if (::mkdir(folder.c_str(), folder_mode) != 0 && errno != EEXIST) {
        throw SystemError("the folder of exports, " + folder);
    }
    open();
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) throw SystemError(path_);
    const auto size = static_cast<std::size_t>(status.st_size);
    map(std::max(size, header_bytes));
    inherited_ = header().magic == magic && size == bytes_for(header().shape);
    header().pid = ::getpid();
}

void StateFile::open() {
    file_ = Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, owner_only));
    if (!file_) throw SystemError("the state of an export, " + path_);
    struct flock range = whole_file();
    if (::fcntl(file_.get(), F_OFD_SETLK, &range) == 0) return;
    if (errno != EAGAIN && errno != EACCES) throw SystemError("locking " + path_);
    throw Error(
        "{} is exported already, by process {}: stop that one (viaduct-export stop), or choose "
        "another name",
        path_.substr(path_.rfind('/') + 1), pid_in(file_, offsetof(Header, pid)));
}

void StateFile::map(std::size_t bytes) {
    if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) {
        throw SystemError("the size of " + path_);
    }
    memory_ = Mapping(path_.c_str(), bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get());
}

StateFile::Header& StateFile::header() const noexcept {
    // The file's first bytes, zero or written by this program.
    return *reinterpret_cast<Header*>(memory_.data());
}

DeviceShape StateFile::inherited_shape() const noexcept {
    return header().shape;
}

void StateFile::begin(const DeviceShape& shape) {
    inherited_ = false;
    map(bytes_for(shape));
    std::memset(memory_.data(), 0, memory_.size());
    header() = Header{.magic = magic, .pid = ::getpid(), .shape = shape, .status = 0};
}

std::span<soft::InFlightEntry> StateFile::in_flight() const noexcept {
    const DeviceShape& shape = header().shape;
    // Zero bytes, or entries that this program wrote.
    return {reinterpret_cast<soft::InFlightEntry*>(memory_.data() + header_bytes),
            std::size_t{shape.queues} * shape.queue_size};
}

std::uint8_t StateFile::status() const noexcept {
    return std::atomic_ref(header().status).load(std::memory_order_acquire);
}

void StateFile::set_status(std::uint8_t status) noexcept {
    // release: who finds the status after a kill finds what was stored before it.
    std::atomic_ref(header().status).store(status, std::memory_order_release);
}

void StateFile::remove() noexcept {
    ::unlink(path_.c_str());
}

pid_t StateFile::owner(const std::string& folder, const std::string& name) {
    const std::string path = folder + "/" + name;
    const Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return 0;
    struct flock range = whole_file();
    // Asked for, not taken: whoever starts meanwhile must find it free.
    const bool known = ::fcntl(file.get(), F_OFD_GETLK, &range) == 0;
    if (!known || range.l_type == F_UNLCK) return 0;
    return pid_in(file, offsetof(Header, pid));
}

}  // namespace viaduct::vduse
