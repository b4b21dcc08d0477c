/// What `viaduct-export run` is told.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "vdpa/management/vdpa_bus.hpp"
#include "vdpa/soft/image/open_image.hpp"

namespace viaduct::vduse {

/// Where exports keep their state and their control sockets.
inline constexpr const char* state_folder = "/run/viaduct";

struct ExportOptions {
    std::string name;
    std::string image;
    unsigned queues = 1;
    std::uint16_t queue_size = 256;
    bool read_only = false;
    std::string serial;
    std::uint32_t block_size = 512;  // bytes
    bool pin_memory = false;
    std::chrono::seconds reconnect_delay = soft::default_reconnect_delay;
    /// Nothing: the device comes on the vDPA bus, and whoever likes takes it.
    std::optional<management::Driver> attach = management::Driver::vhost;
};

}  // namespace viaduct::vduse
