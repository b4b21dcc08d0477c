#include "vmm/control/qmp_error.hpp"

#include <array>

namespace viaduct::control {

std::string_view name_of(ErrorClass error_class) noexcept {
    constexpr std::array<std::string_view, 4> names{"GenericError", "CommandNotFound",
                                                    "DeviceNotActive", "DeviceNotFound"};
    return names[static_cast<std::size_t>(error_class)];
}

}  // namespace viaduct::control
