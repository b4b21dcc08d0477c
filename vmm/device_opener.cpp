#include "vmm/device_opener.hpp"

#include <memory>
#include <utility>

#include <fmt/core.h>

#include "base/error.hpp"
#include "base/log_allowance.hpp"
#include "vdpa/soft/soft_device.hpp"
#include "vdpa/vhost/vdpa_device.hpp"

namespace viaduct::vmm {
namespace {

using Opened = std::unique_ptr<vdpa::Device>;

datapath::GuestDevice::Open opener_of_image(const DeviceConfig& device) {
    soft::SoftDeviceOptions options;
    options.image = device.image;
    options.read_only = device.read_only;
    options.queues = device.queues;
    options.queue_size = device.queue_size.value_or(options.queue_size);
    options.serial = device.serial.empty() ? device.id : device.serial;
    options.suspend = device.suspend;
    options.pin_memory = device.pin_memory;
    options.reconnect_delay = device.reconnect_delay;
    options.log = std::make_shared<LogAllowance>(fmt::format("image '{}'", device.image));
    return [options]() -> Opened { return std::make_unique<soft::SoftDevice>(options); };
}

datapath::GuestDevice::Open opener_of_descriptor(int fd) {
    return [fd, taken = false]() mutable -> Opened {
        if (std::exchange(taken, true)) {
            throw Error(
                "fd={} was handed over open, and what it was is closed: start the machine again, "
                "or name the device by path=",
                fd);
        }
        return std::make_unique<vhost::VdpaDevice>(fmt::format("fd={}", fd), vhost::adopt_node(fd));
    };
}

}  // namespace

void check_handed_over(const std::vector<DeviceConfig>& devices) {
    for (const DeviceConfig& device : devices) {
        if (device.fd) vhost::check_open(*device.fd);
    }
}

datapath::GuestDevice::Open opener_of(const DeviceConfig& device) {
    if (!device.image.empty()) return opener_of_image(device);
    if (device.fd) return opener_of_descriptor(*device.fd);
    return [path = device.path]() -> Opened {
        return std::make_unique<vhost::VdpaDevice>(path, vhost::open_node(path));
    };
}

}  // namespace viaduct::vmm
