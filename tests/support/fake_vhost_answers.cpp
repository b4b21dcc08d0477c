// What a recorded device says of itself.
#include <fmt/format.h>

#include "tests/support/fake_vhost_node.hpp"
#include "tests/support/vhost_recording.hpp"

namespace viaduct::test {
namespace {

std::vector<std::byte> parse_hex(const std::string& text) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

}  // namespace

FakeVhostNode::Answers FakeVhostNode::read_answers(const std::string& recording) {
    const auto lines = parse_recording(recording);
    const auto number = [&](const std::string& name) {
        return std::stoull(lines.at(name), nullptr, 16);
    };
    Answers answers;
    answers.device_id = static_cast<std::uint32_t>(number("device-id"));
    answers.features = number("features");
    answers.backend_features = number("backend-features");
    answers.config = parse_hex(lines.at("config"));
    answers.config.resize(number("config-size"));
    const std::string& range = lines.at("iova-range");
    answers.first_iova = std::stoull(range, nullptr, 16);
    answers.last_iova = std::stoull(range.substr(range.find('-') + 1), nullptr, 16);
    answers.vring_num = static_cast<std::uint16_t>(number("vring-num"));
    for (unsigned queue = 0; queue < number("queues"); ++queue) {
        const std::string& size = lines.at(fmt::format("vring-size-{}", queue));
        const bool known = size.starts_with("0x");
        answers.queue_sizes.push_back(
            known ? static_cast<std::uint32_t>(std::stoul(size, nullptr, 16)) : 0);
    }
    answers.has_doorbells = lines.at("doorbell-0") == "yes";
    answers.needs_access_platform = lines.at("set-features-without-access-platform") == "EINVAL";
    return answers;
}

}  // namespace viaduct::test
