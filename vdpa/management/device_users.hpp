/// Who has a device node open, is mounted from it, in any mount namespace that has a process, or
/// stands on it (dm, md): by /proc and /sys, without touching the device.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "vdpa/management/roots.hpp"

namespace viaduct::management {

/// A device node, by type and number (stat(2): st_rdev).
struct NodeNumber {
    enum class Kind { character, block };
    Kind kind = Kind::character;
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    friend auto operator<=>(const NodeNumber&, const NodeNumber&) = default;
};

struct DeviceUser {
    pid_t pid = 0;  // 0: the kernel
    /// comm; for pid 0 "dm-0", "mounted on /mnt", "mounted on /srv for sleep (pid 7)"
    std::string command;
    friend auto operator<=>(const DeviceUser&, const DeviceUser&) = default;
};

struct DeviceUsers {
    std::vector<DeviceUser> users;
    /// False: there are processes of other users, which only root may look at.
    bool complete = true;
};

/// By pid; a process once.
[[nodiscard]] DeviceUsers users_of(const Roots& roots, const std::vector<NodeNumber>& nodes);

/// "viaduct (pid 4711), mounted on /mnt"
[[nodiscard]] std::string text_of(const std::vector<DeviceUser>& users);

}  // namespace viaduct::management
