#include "vmm/ctl/event_text.hpp"

#include <array>
#include <ctime>

#include <boost/json/serialize.hpp>
#include <fmt/core.h>

#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/table.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

std::string time_of(const json::value& timestamp) {
    const auto seconds = number(timestamp, "seconds");
    if (!seconds) return "-";
    const auto time = static_cast<std::time_t>(*seconds);
    std::tm local{};
    if (::localtime_r(&time, &local) == nullptr) return "-";
    const auto milliseconds = number(timestamp, "microseconds").value_or(0) / 1000;
    return fmt::format("{:02}:{:02}:{:02}.{:03}", local.tm_hour, local.tm_min, local.tm_sec,
                       milliseconds);
}

/// A text that is one word stands as it is, everything else as JSON.
std::string value_text(const json::value& value) {
    const auto* text = value.if_string();
    const bool is_word =
        text != nullptr && !text->empty() && text->find_first_of(" \"\t\r\n") == json::string::npos;
    return is_word ? std::string(*text) : json::serialize(value);
}

}  // namespace

std::string event_text(const json::value& event) {
    std::string line = time_of(member(event, "timestamp")) + "  " + text(event, "event");
    if (const auto* data = member(event, "data").if_object(); data != nullptr) {
        std::string gap = "  ";
        for (const auto& detail : *data) {
            line += gap + std::string(detail.key()) + "=" + value_text(detail.value());
            gap = " ";
        }
    }
    return printable(line);
}

}  // namespace viaduct::ctl
