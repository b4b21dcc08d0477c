#include "vdpa/export/vduse_control.hpp"

#include <fcntl.h>
#include <linux/vduse.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/error.hpp"

namespace viaduct::vduse {
namespace {

constexpr const char* control_path = "/dev/vduse/control";
constexpr std::size_t longest_name = 63;
/// What the driver's ring areas are aligned to.
constexpr std::uint32_t ring_alignment = 4096;

bool is_fit_for_a_name(char character) noexcept {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '-' || character == '_' ||
           character == '.';
}

}  // namespace

void check_name(const std::string& name) {
    const bool fits = !name.empty() && name.size() <= longest_name &&
                      std::ranges::all_of(name, is_fit_for_a_name);
    // "control" is the name of a node beside the devices', and what ends in .sock of a daemon's
    // socket beside another's state.
    if (fits && name.front() != '.' && name.front() != '-' && name != "control" &&
        !name.ends_with(".sock")) {
        return;
    }
    throw Error(
        "'{}' cannot be a device's name: use 1 to {} letters, digits, '-', '_' and '.', the first "
        "of them a letter or a digit; not 'control', and nothing that ends in .sock",
        name, longest_name);
}

Control::Control() : fd_(::open(control_path, O_RDWR | O_CLOEXEC)) {
    if (!fd_) {
        if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
            throw Error(
                "{} does not exist: the kernel's VDUSE is needed (CONFIG_VDPA_USER, Linux 5.15 and "
                "later); load it with `modprobe vduse`",
                control_path);
        }
        if (errno == EACCES || errno == EPERM) {
            throw Error("{} may not be opened by this user: run as root, or give access to it",
                        control_path);
        }
        throw SystemError(control_path);
    }
    std::uint64_t version = VDUSE_API_VERSION;
    if (::ioctl(fd_.get(), VDUSE_SET_API_VERSION, &version) != 0) {
        throw SystemError("VDUSE_SET_API_VERSION");
    }
}

bool Control::create(const DeviceDescription& description) const {
    check_name(description.name);
    std::vector<std::byte> room(sizeof(vduse_dev_config) + description.config.size());
    vduse_dev_config config{};
    std::ranges::copy(description.name, config.name);
    config.device_id = description.device_id;
    config.features = description.features;
    config.vq_num = description.queues;
    config.vq_align = ring_alignment;
    config.config_size = static_cast<std::uint32_t>(description.config.size());
    std::memcpy(room.data(), &config, sizeof(config));
    std::ranges::copy(description.config, room.begin() + sizeof(config));
    if (::ioctl(fd_.get(), VDUSE_CREATE_DEV, room.data()) == 0) return true;
    if (errno == EEXIST) return false;
    throw SystemError("VDUSE_CREATE_DEV of " + description.name);
}

void Control::destroy(const std::string& name) const {
    std::array<char, VDUSE_NAME_MAX> room{};
    std::ranges::copy(name, room.begin());
    if (::ioctl(fd_.get(), VDUSE_DESTROY_DEV, room.data()) != 0) {
        throw SystemError("VDUSE_DESTROY_DEV of " + name);
    }
}

}  // namespace viaduct::vduse
