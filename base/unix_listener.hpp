/// A listening unix socket at a path that the operator chose.
///
/// A socket file left behind by a process that is gone is replaced; one that somebody listens on is
/// an Error, as is anything else that stands there. The file is for the user alone (mode 0600:
/// whoever connects has the guest's console or its controls), and is removed with the object,
/// unless another has taken its place by then.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/listening_socket.hpp"

namespace viaduct {

class UnixListener final : public ListeningSocket {
public:
    /// `option` is the operator's ("--qmp"): errors begin with it and `unix:PATH`. Throws Error
    /// that tells what stands in the way and what to do.
    UnixListener(std::string_view option, std::string path);
    UnixListener(const UnixListener&) = delete;
    UnixListener& operator=(const UnixListener&) = delete;
    ~UnixListener() override { UnixListener::close(); }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Stops listening and removes the file.
    void close() noexcept override;

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
    std::optional<FileId> own_file_;
};

}  // namespace viaduct
