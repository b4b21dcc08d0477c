/// What ends `viaductctl` early. Each is one line on standard error; the exit status is 2 for a
/// UsageError and 1 for every other Error.
#pragma once

#include <string>
#include <utility>

#include "base/error.hpp"

namespace viaduct::ctl {

/// The command line makes no sense.
class UsageError : public Error {
public:
    using Error::Error;
};

/// The machine answered with an error.
class QmpRefusal : public Error {
public:
    QmpRefusal(std::string error_class, const std::string& desc)
        : Error("{} ({})", desc, error_class), class_(std::move(error_class)) {}

    [[nodiscard]] const std::string& error_class() const noexcept { return class_; }

private:
    std::string class_;
};

/// The other side hung up.
class ConnectionLost : public Error {
public:
    using Error::Error;
};

/// A signal came while an answer was awaited: not an error to the person who sent it.
class Interrupted : public Error {
public:
    Interrupted() : Error("interrupted") {}
};

}  // namespace viaduct::ctl
