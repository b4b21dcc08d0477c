#include "base/unix_listener.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/error.hpp"

namespace viaduct {
namespace {

constexpr mode_t owner_only = 0600;
constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path) - 1;
constexpr auto in_use = "{}: in use by a running process: end it or choose another path";

sockaddr_un socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    // The sockets API takes every family's address by its common header.
    return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

UnixListener::UnixListener(std::string_view option, std::string path)
    : ListeningSocket(option, "unix:" + path), path_(std::move(path)) {
    if (path_.size() > longest_path) {
        throw Error(
            "{}: the path has {} bytes and a unix socket's at most {}: choose a shorter one",
            name(), path_.size(), longest_path);
    }
    clear_the_way();
    bind_and_listen();
}

std::optional<UnixListener::FileId> UnixListener::file_id(const std::string& path) noexcept {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return std::nullopt;
    return FileId{status.st_dev, status.st_ino};
}

Fd UnixListener::new_socket() const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) throw SystemError(name() + ": socket");
    return socket;
}

void UnixListener::clear_the_way() const {
    struct stat status {};
    if (::lstat(path_.c_str(), &status) != 0) return;
    if (!S_ISSOCK(status.st_mode)) {
        throw Error(
            "{}: a file that is not a socket stands there: remove it or choose another path",
            name());
    }
    const Fd probe = new_socket();
    const auto target = socket_address(path_);
    const bool connected = ::connect(probe.get(), generic(target), sizeof target) == 0;
    const int error = connected ? 0 : errno;
    if (error == ENOENT) return;
    // EAGAIN: somebody listens, and is too busy to answer.
    if (connected || error == EAGAIN || error == EPROTOTYPE) throw Error(in_use, name());
    if (error != ECONNREFUSED) {
        throw SystemError(name() + ": asking whether somebody listens there", error);
    }
    if (::unlink(path_.c_str()) != 0 && errno != ENOENT) {
        throw SystemError(name() + ": removing the socket of a process that is gone");
    }
}

void UnixListener::bind_and_listen() {
    socket_ = new_socket();
    // The file takes its mode from the socket's inode, so nobody else can connect at any moment.
    ::fchmod(socket_.get(), owner_only);
    const auto own = socket_address(path_);
    if (::bind(socket_.get(), generic(own), sizeof own) != 0) {
        const int error = errno;
        if (error == ENOENT) {
            throw Error("{}: the directory {} does not exist: create it or choose another path",
                        name(), std::filesystem::path(path_).parent_path().string());
        }
        if (error == EADDRINUSE) throw Error(in_use, name());
        throw SystemError(name() + ": making the socket", error);
    }
    own_file_ = file_id(path_);
    if (::listen(socket_.get(), backlog) != 0) {
        const int error = errno;
        UnixListener::close();
        throw SystemError(name() + ": listen", error);
    }
}

void UnixListener::close() noexcept {
    // While the socket lives nobody takes its place, so the file is removed first.
    if (own_file_ && file_id(path_) == own_file_) ::unlink(path_.c_str());
    own_file_.reset();
    socket_.reset();
}

}  // namespace viaduct
