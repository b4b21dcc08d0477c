#include "vmm/control/version.hpp"

namespace viaduct::control {

boost::json::object version() {
    return {{"qemu",
             {{"micro", VIADUCT_VERSION_PATCH},
              {"minor", VIADUCT_VERSION_MINOR},
              {"major", VIADUCT_VERSION_MAJOR}}},
            {"package", "viaduct-" VIADUCT_VERSION}};
}

}  // namespace viaduct::control
