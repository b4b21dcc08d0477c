#include "vmm/ctl/message_reader.hpp"

#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {

namespace json = boost::json;

std::optional<json::object> MessageReader::next() {
    json::error_code failed;
    const auto used = parser_.write_some(waiting_.data(), waiting_.size(), failed);
    const bool is_whole = !failed && parser_.done();
    std::optional<json::object> message;
    if (is_whole) {
        json::value value = parser_.release();
        parser_.reset();
        if (auto* object = value.if_object()) message = std::move(*object);
    }
    const bool is_begun = !failed && !is_whole && used == waiting_.size();
    if (!message && !is_begun) {
        throw Error(
            "{} does not speak QMP: is it the machine's --qmp socket, and not its --serial?",
            peer_);
    }
    waiting_.erase(0, used);
    return message;
}

}  // namespace viaduct::ctl
