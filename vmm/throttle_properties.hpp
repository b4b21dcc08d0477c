/// The throttle.… properties of --device: I/O limits from the start, as block_set_io_throttle sets
/// them later.
#pragma once

#include <string>
#include <vector>

#include "vdpa/datapath/throttle/limits.hpp"
#include "vmm/properties.hpp"

namespace viaduct::vmm {

struct ThrottleConfig {
    datapath::ThrottleLimits limits;
    std::string group;  // empty: one of the device's own
};

/// "throttle.iops-total", "throttle.iops-total-max", …, "throttle.iops-size", "throttle.group".
/// `config` outlives them.
std::vector<PropertySetter> throttle_setters(ThrottleConfig& config);

}  // namespace viaduct::vmm
