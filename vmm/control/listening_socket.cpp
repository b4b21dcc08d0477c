#include "vmm/control/listening_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/error.hpp"

namespace viaduct::control {
namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr int backlog = 16;
constexpr mode_t owner_only = 0600;

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

Fd new_socket(const std::string& address) {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) throw SystemError(fmt::format("--qmp {}: socket", address));
    return socket;
}

std::string path_of(std::string_view address) {
    const auto path = address.starts_with(unix_prefix) ? address.substr(unix_prefix.size()) : "";
    if (path.empty()) throw Error("--qmp {}: not a socket's address: use unix:PATH", address);
    constexpr auto longest = sizeof(sockaddr_un::sun_path) - 1;
    if (path.size() > longest) {
        throw Error(
            "--qmp {}: the path has {} bytes and a unix socket's at most {}: choose a shorter one",
            address, path.size(), longest);
    }
    return std::string(path);
}

}  // namespace

ListeningSocket::ListeningSocket(std::string_view address)
    : address_(address), path_(path_of(address)), socket_(new_socket(address_)) {
    clear_the_way();
    bind_and_listen();
}

std::optional<ListeningSocket::FileId> ListeningSocket::file_id(const std::string& path) noexcept {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return std::nullopt;
    return FileId{status.st_dev, status.st_ino};
}

void ListeningSocket::clear_the_way() const {
    struct stat status {};
    if (::lstat(path_.c_str(), &status) != 0) return;
    if (!S_ISSOCK(status.st_mode)) {
        throw Error("--qmp {}: the file exists and is not a socket: choose another path", address_);
    }
    const auto probe = new_socket(address_);
    const auto target = socket_address(path_);
    const bool refused = ::connect(probe.get(), generic(target), sizeof target) != 0 &&
                         (errno == ECONNREFUSED || errno == ENOENT);
    if (!refused) {
        throw Error("--qmp {}: in use by a running process: stop it or choose another path",
                    address_);
    }
    if (::unlink(path_.c_str()) != 0 && errno != ENOENT) {
        throw SystemError(
            fmt::format("--qmp {}: removing the socket of a process that is gone", address_));
    }
}

void ListeningSocket::bind_and_listen() {
    // The file takes its mode from the socket's inode, so nobody else can connect at any moment.
    ::fchmod(socket_.get(), owner_only);
    const auto own = socket_address(path_);
    if (::bind(socket_.get(), generic(own), sizeof own) != 0) {
        const int error = errno;
        if (error == ENOENT) {
            throw Error(
                "--qmp {}: the directory {} does not exist: create it or choose another path",
                address_, std::filesystem::path(path_).parent_path().string());
        }
        if (error == EADDRINUSE) {
            throw Error("--qmp {}: in use by a running process: stop it or choose another path",
                        address_);
        }
        throw SystemError(fmt::format("--qmp {}: making the socket", address_), error);
    }
    own_file_ = file_id(path_);
    if (::listen(socket_.get(), backlog) != 0) {
        throw SystemError(fmt::format("--qmp {}: listen", address_));
    }
}

Fd ListeningSocket::accept() {
    while (true) {
        Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (client || errno == EAGAIN) return client;
        const int error = errno;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            throw SystemError(fmt::format("qmp: {}: accepting a client", address_), error);
        }
    }
}

void ListeningSocket::close() noexcept {
    socket_.reset();
    if (own_file_ && file_id(path_) == own_file_) ::unlink(path_.c_str());
    own_file_.reset();
}

}  // namespace viaduct::control
