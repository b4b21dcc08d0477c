/// What `viaduct run` was asked for, parsed and checked as far as that goes without touching files
/// or devices.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "vdpa/datapath/offered_features.hpp"
#include "vdpa/soft/image/open_image.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/throttle_properties.hpp"

namespace viaduct::vmm {

/// `--device vdpa,…`: exactly one of path, image and fd.
struct DeviceConfig {
    std::string id;
    std::string path;
    std::string image;
    std::optional<int> fd;
    std::optional<datapath::Policy> policy;
    std::optional<std::uint16_t> queue_size;
    std::optional<std::chrono::microseconds> poll;  // of the slow path, before it sleeps
    ThrottleConfig throttle;
    // The embedded device's only.
    unsigned queues = 1;
    bool read_only = false;
    std::string serial;
    bool suspend = true;
    bool pin_memory = false;
    std::chrono::seconds reconnect_delay = soft::default_reconnect_delay;  // of a network image
};

struct Config {
    /// `viaduct qmp-reference`: the rest is not looked at.
    bool prints_qmp_reference = false;

    static constexpr unsigned max_cpus = 64;

    std::string name = "viaduct";
    std::string kernel;
    std::string initrd;
    std::string append;
    std::uint64_t memory = 512ULL << 20;  // bytes
    PageSize page_size = PageSize::small;
    unsigned cpus = 1;
    std::vector<DeviceConfig> devices;
    std::string serial = "stdio";
    std::vector<std::string> qmp;
    std::optional<std::uint16_t> debug_exit_port;
    log::Level log_level = log::Level::warning;
};

/// "512M", "2G", "2048" (MiB, as QEMU's -m) to bytes. Throws Error.
std::uint64_t parse_size(const std::string& text);

/// "vdpa,path=/dev/vhost-vdpa-0,id=disk0". `index` numbers devices without an id. Throws Error that
/// names the nearest valid property.
DeviceConfig parse_device(const std::string& text, std::size_t index);

/// Of the program's arguments. Nothing when --help or --version was asked for and printed. Throws
/// Error for what makes no sense, naming the nearest valid command or option.
std::optional<Config> parse_command_line(int argc, char** argv);

}  // namespace viaduct::vmm
