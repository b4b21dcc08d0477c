#include "vmm/console/unix_listener.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace viaduct::console {
namespace {

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        throw Error(
            "--serial unix:{}: the path has {} characters and may have {}: choose a shorter one",
            path, path.size(), sizeof(address.sun_path) - 1);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    // The socket interface takes every family's address by this pointer (unix(7)).
    return reinterpret_cast<const sockaddr*>(&address);
}

Fd make_socket() {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw SystemError("socket");
    return fd;
}

/// Makes way for a socket at `path`: removes one that nobody listens on.
void clear_path(const std::string& path, const sockaddr_un& address) {
    struct stat found = {};
    if (::lstat(path.c_str(), &found) != 0) return;
    if (!S_ISSOCK(found.st_mode)) {
        throw Error(
            "--serial unix:{}: something that is not a socket stands there: remove it or "
            "choose another path",
            path);
    }
    const Fd probe = make_socket();
    if (::connect(probe.get(), generic(address), sizeof(address)) != 0 && errno == ECONNREFUSED) {
        ::unlink(path.c_str());
        return;
    }
    throw Error("--serial unix:{}: in use by a running process: end it or choose another path",
                path);
}

}  // namespace

UnixListener::UnixListener(std::string path) : path_(std::move(path)), fd_(make_socket()) {
    const sockaddr_un address = address_of(path_);
    clear_path(path_, address);
    // The file takes its mode from the socket, so nobody else can connect at any moment.
    ::fchmod(fd_.get(), S_IRUSR | S_IWUSR);
    if (::bind(fd_.get(), generic(address), sizeof(address)) != 0) {
        throw SystemError("--serial unix:" + path_ +
                          ": making the socket (does the directory exist, may you write there?)");
    }
    struct stat made = {};
    if (::listen(fd_.get(), 8) != 0 || ::lstat(path_.c_str(), &made) != 0) {
        const int error = errno;
        ::unlink(path_.c_str());
        throw SystemError("--serial unix:" + path_ + ": listen", error);
    }
    device_ = made.st_dev;
    inode_ = made.st_ino;
}

UnixListener::~UnixListener() {
    struct stat found = {};
    if (::lstat(path_.c_str(), &found) != 0) return;
    if (found.st_dev == device_ && found.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace viaduct::console
