#include "vmm/ctl/session.hpp"

#include <cstdio>

#include <boost/json/serialize.hpp>

#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/json_text.hpp"

namespace viaduct::ctl {

QmpClient& Session::machine() {
    if (!machine_) machine_.emplace(address_.value());
    return *machine_;
}

void Session::print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
        throw SystemError("writing to standard output");
    }
}

void Session::print_json(const boost::json::value& value) {
    print(pretty(value) + "\n");
}

void Session::print_json_line(const boost::json::value& value) {
    print(boost::json::serialize(value) + "\n");
}

}  // namespace viaduct::ctl
