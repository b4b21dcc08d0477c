/// Where the kernel's file systems and the system's configuration are. Tests put directories
/// recorded from a real machine in their place.
#pragma once

#include <filesystem>

namespace viaduct::management {

struct Roots {
    std::filesystem::path sys = "/sys";
    std::filesystem::path dev = "/dev";
    std::filesystem::path proc = "/proc";
    std::filesystem::path etc = "/etc";
    std::filesystem::path modules = "/lib/modules";  // a directory for each kernel release
};

}  // namespace viaduct::management
