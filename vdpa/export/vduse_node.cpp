#include "vdpa/export/vduse_node.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace viaduct::vduse {
namespace {

class KernelNode final : public Node {
public:
    KernelNode(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {
        if (is_given_up()) throw_given_up();
    }

    [[nodiscard]] int fd() const noexcept override { return fd_.get(); }

    std::optional<vduse_dev_request> receive() override {
        vduse_dev_request request{};
        const ssize_t length = ::read(fd_.get(), &request, sizeof(request));
        if (length == static_cast<ssize_t>(sizeof(request))) return request;
        if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (is_given_up()) throw_given_up();
            return std::nullopt;
        }
        throw SystemError("reading a message of " + name_, length < 0 ? errno : EIO);
    }

    void respond(const vduse_dev_response& response) override {
        if (::write(fd_.get(), &response, sizeof(response)) ==
            static_cast<ssize_t>(sizeof(response))) {
            return;
        }
        // Whoever asked was killed, or has waited too long: nobody wants the answer any more.
        if (errno == ENOENT) return;
        throw SystemError("answering a message of " + name_);
    }

    void set_up_queue(unsigned queue, std::uint16_t max_size) override {
        vduse_vq_config config{};
        config.index = queue;
        config.max_size = max_size;
        control(VDUSE_VQ_SETUP, &config, "VDUSE_VQ_SETUP");
    }

    std::uint64_t features() override {
        std::uint64_t features = 0;
        control(VDUSE_DEV_GET_FEATURES, &features, "VDUSE_DEV_GET_FEATURES");
        return features;
    }

    QueueInfo queue_info(unsigned queue) override {
        vduse_vq_info info{};
        info.index = queue;
        control(VDUSE_VQ_GET_INFO, &info, "VDUSE_VQ_GET_INFO");
        return {.size = static_cast<std::uint16_t>(info.num),
                .addresses = {Iova{info.desc_addr}, Iova{info.driver_addr}, Iova{info.device_addr}},
                .avail_index = info.split.avail_index,
                .ready = info.ready != 0};
    }

    std::optional<IotlbEntry> iotlb_entry(std::uint64_t from, std::uint64_t to) override {
        vduse_iotlb_entry entry{};
        entry.start = from;
        entry.last = to;
        const int file = ::ioctl(fd_.get(), VDUSE_IOTLB_GET_FD, &entry);
        if (file < 0 && errno == EINVAL) return std::nullopt;
        if (file < 0) throw SystemError("VDUSE_IOTLB_GET_FD of " + name_);
        return IotlbEntry{.file = Fd(file),
                          .offset = entry.offset,
                          .first = Iova{entry.start},
                          .last = Iova{entry.last},
                          .writable = (entry.perm & VDUSE_ACCESS_WO) != 0};
    }

    void set_kick(unsigned queue, const EventFd* kick) override {
        vduse_vq_eventfd eventfd{};
        eventfd.index = queue;
        eventfd.fd = kick == nullptr ? VDUSE_EVENTFD_DEASSIGN : kick->fd();
        control(VDUSE_VQ_SETUP_KICKFD, &eventfd, "VDUSE_VQ_SETUP_KICKFD");
    }

    void interrupt(unsigned queue) noexcept override {
        std::uint32_t index = queue;
        // It fails for a driver that has reset the device in the meantime, and wants none then.
        (void)::ioctl(fd_.get(), VDUSE_VQ_INJECT_IRQ, &index);
    }

    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override {
        std::vector<std::byte> room(sizeof(vduse_config_data) + bytes.size());
        vduse_config_data header{};
        header.offset = offset;
        header.length = static_cast<std::uint32_t>(bytes.size());
        std::memcpy(room.data(), &header, sizeof(header));
        std::ranges::copy(bytes, room.begin() + sizeof(header));
        control(VDUSE_DEV_SET_CONFIG, room.data(), "VDUSE_DEV_SET_CONFIG");
    }

    void interrupt_config() override {
        if (::ioctl(fd_.get(), VDUSE_DEV_INJECT_CONFIG_IRQ) == 0) return;
        // EINVAL: no driver runs the device, and the next one reads what it finds.
        if (errno != EINVAL) throw SystemError("VDUSE_DEV_INJECT_CONFIG_IRQ of " + name_);
    }

private:
    void control(unsigned long request, void* argument, const char* what) const {
        if (::ioctl(fd_.get(), request, argument) >= 0) return;
        if (errno == EPERM && is_given_up()) throw_given_up();
        throw SystemError(fmt::format("{} of {}", what, name_));
    }

    /// For good: there will be no message any more.
    [[nodiscard]] bool is_given_up() const noexcept {
        pollfd node{.fd = fd_.get(), .events = POLLIN, .revents = 0};
        const int error = errno;
        const bool given_up = ::poll(&node, 1, 0) == 1 && (node.revents & POLLERR) != 0;
        errno = error;
        return given_up;
    }

    [[noreturn]] void throw_given_up() const {
        throw Error(
            "the kernel has given the device up, as nobody answered it in time: end its users and "
            "take it away (viaduct-export stop {}), then start it again",
            name_);
    }

    Fd fd_;
    std::string name_;
};

}  // namespace

std::unique_ptr<Node> open_node(const std::string& name) {
    const std::string path = "/dev/vduse/" + name;
    Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (fd) return std::make_unique<KernelNode>(std::move(fd), name);
    if (errno == EBUSY) {
        throw Error(
            "{} is served by another process: end that one (fuser {}) or choose another name", path,
            path);
    }
    throw SystemError(path);
}

}  // namespace viaduct::vduse
