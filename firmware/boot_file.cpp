#include "firmware/boot_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace viaduct::firmware {
namespace {

std::string reason(int error) {
    return std::generic_category().message(error);
}

const char* remedy(int error) {
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            return "check the path";
        case EACCES:
        case EPERM:
            return "make it readable for the user that runs viaduct";
        default:
            return "give another file";
    }
}

}  // namespace

BootFile::BootFile(std::string_view role, const std::string& path)
    : name_(fmt::format("{} '{}'", role, path)),
      // O_NONBLOCK, so that a FIFO in the file's place is refused below and not waited for.
      fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (!fd_) reject("cannot be opened: {}; {}", reason(errno), remedy(errno));
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) reject("cannot be examined: {}", reason(errno));
    if (S_ISDIR(status.st_mode)) reject("is a directory; name the file in it");
    if (!S_ISREG(status.st_mode)) reject("is not a regular file; copy its content into one");
    if (status.st_size == 0) reject("is empty; give a complete file");
    size_ = static_cast<std::uint64_t>(status.st_size);
}

void BootFile::read(std::string_view part, std::uint64_t offset, std::span<std::byte> into) const {
    if (offset > size_ || into.size() > size_ - offset) {
        reject("is truncated: {} takes {} bytes at offset {}, the file has {}; get a complete copy",
               part, into.size(), offset, size_);
    }
    while (!into.empty()) {
        const ssize_t got =
            ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) reject("cannot be read: {}", reason(errno));
        if (got == 0) reject("became shorter while it was read; start again when it is complete");
        offset += static_cast<std::uint64_t>(got);
        into = into.subspan(static_cast<std::size_t>(got));
    }
}

}  // namespace viaduct::firmware
