/// An error as a QMP client sees it: `{"error": {"class": …, "desc": …}}`, with QEMU's classes.
/// A command throws it when the class matters; any other viaduct::Error becomes a GenericError with
/// its text.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace viaduct::control {

enum class ErrorClass { generic_error, command_not_found, device_not_active, device_not_found };

/// As QMP spells it: "GenericError".
[[nodiscard]] std::string_view name_of(ErrorClass error_class) noexcept;

class QmpError : public Error {
public:
    QmpError(ErrorClass error_class, const std::string& desc) : Error(desc), class_(error_class) {}

    template <typename... Args>
    QmpError(ErrorClass error_class, fmt::format_string<Args...> format, Args&&... args)
        : Error(fmt::vformat(format, fmt::make_format_args(args...))), class_(error_class) {}

    [[nodiscard]] ErrorClass error_class() const noexcept { return class_; }

private:
    ErrorClass class_;
};

}  // namespace viaduct::control
