#include "vmm/ctl/request_text.hpp"

#include <span>
#include <string_view>

#include <boost/json/parse.hpp>

#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

json::object parse_whole(const std::string& text) {
    json::error_code failed;
    json::value request = json::parse(text, failed);
    if (failed) throw UsageError("qmp: '{}' is not JSON: {}", text, failed.message());
    auto* object = request.if_object();
    const auto* name = object != nullptr ? object->if_contains("execute") : nullptr;
    if (name == nullptr || !name->is_string()) {
        throw UsageError(R"(qmp: '{}' names no command: write it as {{"execute": "query-status"}})",
                         text);
    }
    return std::move(*object);
}

json::value parse_value(std::string_view text) {
    json::error_code failed;
    json::value value = json::parse(text, failed);
    return failed ? json::value(text) : value;
}

json::object parse_arguments(std::span<const std::string> words) {
    json::object arguments;
    for (const std::string& word : words) {
        const auto equals = word.find('=');
        if (equals == std::string::npos || equals == 0) {
            throw UsageError("qmp: '{}' is no argument: write it as name=value", word);
        }
        const std::string_view view = word;
        arguments[view.substr(0, equals)] = parse_value(view.substr(equals + 1));
    }
    return arguments;
}

}  // namespace

json::object parse_request(const std::vector<std::string>& words) {
    if (words.empty() || words.front().empty()) {
        throw UsageError(
            R"(qmp: say which command, as query-status or {{"execute": "query-status"}})");
    }
    if (words.front().find_first_of("{[\"") != std::string::npos) {
        if (words.size() > 1) throw UsageError("qmp: after a whole request nothing else can stand");
        return parse_whole(words.front());
    }
    json::object request{{"execute", words.front()}};
    auto arguments = parse_arguments(std::span(words).subspan(1));
    if (!arguments.empty()) request.emplace("arguments", std::move(arguments));
    return request;
}

}  // namespace viaduct::ctl
