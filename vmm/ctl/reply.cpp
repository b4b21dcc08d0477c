#include "vmm/ctl/reply.hpp"

namespace viaduct::ctl {

namespace json = boost::json;

const json::value& member(const json::value& from, std::string_view name) {
    static const json::value nothing;
    const auto* object = from.if_object();
    const auto* found = object != nullptr ? object->if_contains(name) : nullptr;
    return found != nullptr ? *found : nothing;
}

const json::array& elements(const json::value& list) {
    static const json::array none;
    const auto* array = list.if_array();
    return array != nullptr ? *array : none;
}

std::optional<std::uint64_t> number(const json::value& from, std::string_view name) {
    json::error_code failed;
    const auto value = member(from, name).to_number<std::uint64_t>(failed);
    if (failed) return std::nullopt;
    return value;
}

std::string text(const json::value& from, std::string_view name, std::string_view otherwise) {
    const auto* found = member(from, name).if_string();
    return std::string(found != nullptr ? std::string_view(*found) : otherwise);
}

bool flag(const json::value& from, std::string_view name) {
    const auto* found = member(from, name).if_bool();
    return found != nullptr && *found;
}

std::string digits(const json::value& from, std::string_view name) {
    const auto value = number(from, name);
    return value ? std::to_string(*value) : "-";
}

}  // namespace viaduct::ctl
