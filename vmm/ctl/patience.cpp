#include "vmm/ctl/patience.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include <boost/json/value.hpp>

namespace viaduct::ctl {
namespace {

/// Of them a throttle limit, which takes the data path back before it is in force.
constexpr std::array<std::string_view, 5> waits_for_devices{
    "vdpa-set-datapath", "block_set_io_throttle", "stop", "cont", "system_reset"};

}  // namespace

std::chrono::milliseconds patience_for(std::string_view command,
                                       const boost::json::object& arguments) {
    if (std::ranges::find(waits_for_devices, command) == waits_for_devices.end())
        return usual_patience;
    const auto* timeout = arguments.if_contains("switch-timeout");
    const auto* milliseconds = timeout != nullptr ? timeout->if_int64() : nullptr;
    if (milliseconds == nullptr) return patience_with_devices;
    constexpr std::int64_t day = 86'400'000;
    return patience_with_devices +
           std::chrono::milliseconds(std::clamp<std::int64_t>(*milliseconds, 0, day));
}

}  // namespace viaduct::ctl
