/// What a command of `viaductctl` works with: the machine it was pointed at, and where and in which
/// form it answers.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "vmm/ctl/address.hpp"
#include "vmm/ctl/qmp_client.hpp"

namespace viaduct::ctl {

class Session {
public:
    /// `address`: nothing for a command that is about the host.
    Session(std::optional<Address> address, bool as_json)
        : address_(std::move(address)), as_json_(as_json) {}

    /// For programs instead of people (`--json`).
    [[nodiscard]] bool as_json() const noexcept { return as_json_; }

    /// Connected at its first use.
    [[nodiscard]] QmpClient& machine();

    boost::json::value ask(std::string_view command, boost::json::object arguments = {}) {
        return machine().execute(command, std::move(arguments));
    }

    /// To standard output, at once. Throws Error when that is closed or full.
    static void print(std::string_view text);
    /// Over several lines.
    static void print_json(const boost::json::value& value);
    /// On a line of its own: one of many.
    static void print_json_line(const boost::json::value& value);

private:
    std::optional<Address> address_;
    bool as_json_;
    std::optional<QmpClient> machine_;
};

}  // namespace viaduct::ctl
