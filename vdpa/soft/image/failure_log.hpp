/// What an image says of requests that failed below it, in the file system or at a server: a line
/// for each, but not without end. From any engine's thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/log_allowance.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::soft {

class FailureLog {
public:
    /// `where`: it failed, as the line has it, "at the server" for instance.
    FailureLog(std::string image, const char* where);

    /// `error`: an errno.
    void failed(OperationKind kind, std::uint64_t offset, int error) noexcept;

private:
    std::string image_;
    const char* where_;
    LogAllowance lines_;
};

}  // namespace viaduct::soft
