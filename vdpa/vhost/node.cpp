#include "vdpa/vhost/node.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace viaduct::vhost {
namespace {

class KernelNode final : public Node {
public:
    explicit KernelNode(Fd fd) : fd_(std::move(fd)) {}

    int ioctl(unsigned long request, void* argument) override {
        return ::ioctl(fd_.get(), request, argument);
    }

    bool write(std::span<const std::byte> message) override {
        return ::write(fd_.get(), message.data(), message.size()) ==
               static_cast<ssize_t>(message.size());
    }

    Mapping map_doorbell(unsigned queue) override {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        // The kernel refuses a readable mapping of a doorbell (vhost_vdpa_mmap).
        void* address = ::mmap(nullptr, page, PROT_WRITE, MAP_SHARED, fd_.get(),
                               static_cast<off_t>(queue * page));
        if (address == MAP_FAILED) return {};
        // A guest that reads its doorbell before it ever wrote to it would end KVM_RUN with EFAULT.
        // What the kernel refuses to mmap it grants to mprotect.
        (void)::mprotect(address, page, PROT_READ | PROT_WRITE);
        return Mapping::adopt({static_cast<std::byte*>(address), page});
    }

private:
    Fd fd_;
};

[[noreturn]] void throw_open_error(const std::string& path) {
    switch (errno) {
        case ENOENT:
            throw Error(
                "vDPA device {} does not exist: load the vhost_vdpa module, add a device (vdpa dev "
                "add …) and look for its node with ls /sys/bus/vdpa/devices/*/vhost-vdpa-*",
                path);
        case EBUSY:
            throw Error(
                "vDPA device {} is in use by another process (it opens only once): end that "
                "process (fuser {}) or choose another device",
                path, path);
        case EACCES:
        case EPERM:
            throw Error(
                "vDPA device {} may not be opened by this user: run as its owner, or give access "
                "(chgrp kvm {} && chmod g+rw {})",
                path, path, path);
        default:
            throw SystemError(fmt::format("cannot open vDPA device {}", path));
    }
}

}  // namespace

std::unique_ptr<Node> open_node(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) throw_open_error(path);
    if (!S_ISCHR(status.st_mode)) {
        throw Error(
            "{} is not a vDPA device: a character device such as /dev/vhost-vdpa-0 is needed (for "
            "a "
            "disk image say image={})",
            path, path);
    }
    Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) throw_open_error(path);
    return std::make_unique<KernelNode>(std::move(fd));
}

void check_open(int fd) {
    if (::fcntl(fd, F_GETFD) >= 0) return;
    throw SystemError(fmt::format(
        "file descriptor {} of a vDPA device is not open: pass one that is inherited", fd));
}

std::unique_ptr<Node> adopt_node(int fd) {
    check_open(fd);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    return std::make_unique<KernelNode>(Fd(fd));
}

}  // namespace viaduct::vhost
