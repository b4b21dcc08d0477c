#include "vmm/control/version.hpp"

#include <fmt/core.h>

namespace viaduct::control {

boost::json::object version() {
    return {
        {"qemu", {{"micro", VERSION_MICRO}, {"minor", VERSION_MINOR}, {"major", VERSION_MAJOR}}},
        {"package", fmt::format("viaduct-{}.{}.{}", VERSION_MAJOR, VERSION_MINOR, VERSION_MICRO)}};
}

}  // namespace viaduct::control
