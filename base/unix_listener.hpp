/// A listening unix socket at a path that the operator chose.
///
/// A socket file left behind by a process that is gone is replaced; one that somebody listens on is
/// an Error, as is anything else that stands there. The file is for the user alone (mode 0600:
/// whoever connects has the guest's console or its controls), and is removed with the object,
/// unless another has taken its place by then.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.hpp"

namespace viaduct {

class UnixListener {
public:
    /// How long to leave the socket alone after accept() threw: who waits there is seen again at
    /// once, and what is missing is seldom back by then.
    static constexpr std::chrono::milliseconds rest{500};

    /// `option` is the operator's ("--qmp"): errors begin with it and `unix:PATH`. Throws Error
    /// that tells what stands in the way and what to do.
    UnixListener(std::string_view option, std::string path);
    UnixListener(const UnixListener&) = delete;
    UnixListener& operator=(const UnixListener&) = delete;
    ~UnixListener() { close(); }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// Non-blocking, readable when somebody connects; -1 when closed.
    [[nodiscard]] int fd() const noexcept { return socket_.get(); }

    /// The next connection, non-blocking; empty when nobody waits or the socket is closed. Throws
    /// SystemError when the process or the machine is out of descriptors or memory.
    [[nodiscard]] Fd accept();

    /// Stops listening and removes the file.
    void close() noexcept;

private:
    struct FileId {
        dev_t device;
        ino_t inode;
        bool operator==(const FileId&) const = default;
    };

    [[nodiscard]] static std::optional<FileId> file_id(const std::string& path) noexcept;
    [[nodiscard]] Fd new_socket() const;
    void clear_the_way() const;
    void bind_and_listen();

    std::string path_;
    std::string name_;  // in errors
    Fd socket_;
    std::optional<FileId> own_file_;
};

}  // namespace viaduct
