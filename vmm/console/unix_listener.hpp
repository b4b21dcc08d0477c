/// A listening unix socket at a path: replaces the file that a dead process left behind, refuses
/// one that a living process listens on, and takes its own file away at the end. The file is for
/// the user alone: whoever connects has the guest's console.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.hpp"

namespace viaduct::console {

class UnixListener {
public:
    /// Non-blocking. Throws Error saying what stands at `path` and what to do.
    explicit UnixListener(std::string path);
    UnixListener(const UnixListener&) = delete;
    UnixListener& operator=(const UnixListener&) = delete;
    ~UnixListener();

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    Fd fd_;
    dev_t device_ = 0;  // the file's, so that nobody else's is removed
    ino_t inode_ = 0;
};

}  // namespace viaduct::console
