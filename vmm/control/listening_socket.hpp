/// A socket on which QMP clients connect, made from the operator's address: `unix:PATH`.
///
/// A socket file left behind by a process that is gone is replaced; one that somebody listens on is
/// an Error. The file is for the user alone (mode 0600) and is removed with the object, unless
/// another has taken its place by then.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/fd.hpp"

namespace viaduct::control {

class ListeningSocket {
public:
    /// Throws Error that tells the operator what stands in the way.
    explicit ListeningSocket(std::string_view address);
    ListeningSocket(const ListeningSocket&) = delete;
    ListeningSocket& operator=(const ListeningSocket&) = delete;
    ~ListeningSocket() { close(); }

    [[nodiscard]] const std::string& address() const noexcept { return address_; }
    /// Readable when somebody connects; -1 when closed.
    [[nodiscard]] int fd() const noexcept { return socket_.get(); }

    /// The next connection's socket, non-blocking; empty when nobody waits. Throws SystemError when
    /// the process or the machine is out of descriptors or memory.
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
    void clear_the_way() const;
    void bind_and_listen();

    std::string address_;
    std::string path_;
    Fd socket_;
    std::optional<FileId> own_file_;
};

}  // namespace viaduct::control
