/// Set-up errors: thrown while a machine is being built or an operator's command is carried out,
/// never from the vCPU loop or the data path. The text says what was found, what was needed and
/// what to do next; `viaduct` prints it on one line and exits with status 1.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>

#include <fmt/core.h>

namespace viaduct {

class Error : public std::runtime_error {
public:
    explicit Error(const std::string& text) : std::runtime_error(text) {}

    template <typename... Args>
    explicit Error(fmt::format_string<Args...> format, Args&&... args)
        : std::runtime_error(fmt::vformat(format, fmt::make_format_args(args...))) {}
};

/// A failed system call: `what` names the call and its object, the reason comes from `errno`.
class SystemError : public Error {
public:
    explicit SystemError(const std::string& what, int error = errno);

    [[nodiscard]] int code() const noexcept { return code_; }

private:
    int code_;
};

}  // namespace viaduct
