#include "vdpa/vhost/map_error.hpp"

#include <sys/resource.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>

#include "base/error.hpp"

namespace viaduct::vhost {
namespace {

/// The flags column ("rw-s") of the mapping in /proc/self/maps (proc(5)) that holds `address`.
std::string mapping_flags(std::uintptr_t address) {
    std::ifstream maps("/proc/self/maps");
    std::string line;
    while (std::getline(maps, line)) {
        std::uintptr_t first = 0;
        std::uintptr_t end = 0;
        std::array<char, 5> flags{};
        // The three fields are the kernel's own format; a line that differs is skipped.
        // NOLINTNEXTLINE(cert-err34-c)
        if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s", &first, &end,
                        flags.data()) == 3 &&
            address >= first && address < end) {
            return flags.data();
        }
    }
    return {};
}

/// What the process has pinned already, for other devices (VmPin of proc(5), in KiB).
std::uint64_t pinned_bytes() {
    std::ifstream status("/proc/self/status");
    std::string line;
    while (std::getline(status, line)) {
        if (line.starts_with("VmPin:")) return std::stoull(line.substr(6)) * 1024;
    }
    return 0;
}

std::string module_parameter(const char* path) {
    std::string value;
    std::ifstream(path) >> value;
    return value;
}

}  // namespace

void refuse_private_memory(const std::string& device, const MemoryRegion& region) {
    const auto flags = mapping_flags(reinterpret_cast<std::uintptr_t>(region.bytes.data()));
    if (flags.size() == 4 && flags[3] == 's') return;
    throw Error(
        "memory at {:#x} is private ({}), which vDPA device {} would silently not see: it must be "
        "a shared mapping of a file (memfd)",
        region.iova.value, flags.empty() ? "not mapped" : flags, device);
}

std::string explain_map_error(const std::string& device, std::span<const MemoryRegion> regions,
                              int error) {
    std::uint64_t bytes = 0;
    for (const MemoryRegion& region : regions) bytes += region.bytes.size();
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    // Every device that pins it counts the same memory again.
    const std::uint64_t needed = pinned_bytes() + bytes;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < needed) {
        return fmt::format(
            "vDPA device {} pins guest memory: {} bytes are needed, the limit for locked memory "
            "(RLIMIT_MEMLOCK) is {} bytes: raise it (ulimit -l {}, or LimitMEMLOCK= of the "
            "service)",
            device, needed, limit.rlim_cur, (needed + 1023) / 1024);
    }
    const auto entries = module_parameter("/sys/module/vhost_vdpa/parameters/max_iotlb_entries");
    return fmt::format(
        "vDPA device {} cannot map {} bytes of guest memory ({}): in scattered pages it takes up "
        "to "
        "{} IOTLB entries, the limit (max_iotlb_entries of module vhost_vdpa) is {}: use huge "
        "pages "
        "(--memory …,hugepages=on) or raise it (options vhost_vdpa max_iotlb_entries=1000000 in "
        "/etc/modprobe.d)",
        device, bytes, std::generic_category().message(error), bytes / 4096,
        entries.empty() ? "unknown" : entries);
}

}  // namespace viaduct::vhost
