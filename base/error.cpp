#include "base/error.hpp"

#include <system_error>

namespace viaduct {

SystemError::SystemError(const std::string& what, int error)
    : Error("{}: {}", what, std::generic_category().message(error)), code_(error) {}

}  // namespace viaduct
