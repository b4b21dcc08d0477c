#include "vmm/throttle_properties.hpp"

#include <limits>

namespace viaduct::vmm {
namespace {

using datapath::RateLimit;

PropertySetter number_setter(const std::string& name, std::uint64_t& value) {
    return {name, [name, &value](const std::string& text) {
                value = parse_number("--device vdpa: " + name, text, 0,
                                     std::numeric_limits<std::uint64_t>::max());
            }};
}

}  // namespace

std::vector<PropertySetter> throttle_setters(ThrottleConfig& config) {
    std::vector<PropertySetter> setters;
    for (const auto& name : datapath::rate_limit_names) {
        RateLimit& rate = config.limits.*name.limit;
        const std::string option = std::string("throttle.") + name.option;
        setters.push_back(number_setter(option, rate.average));
        setters.push_back(number_setter(option + "-max", rate.maximum));
        setters.push_back(number_setter(option + "-max-length", rate.length));
    }
    setters.push_back(number_setter("throttle.iops-size", config.limits.iops_size));
    setters.push_back({"throttle.group", [&config](const auto& value) { config.group = value; }});
    return setters;
}

}  // namespace viaduct::vmm
