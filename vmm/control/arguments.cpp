#include "vmm/control/arguments.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/ranges.h>

#include "vmm/control/qmp_error.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;

bool is_of(ArgumentType type, const json::value& value) {
    switch (type) {
        case ArgumentType::string:
            return value.is_string();
        case ArgumentType::integer:
            return value.is_int64();
        case ArgumentType::size:
            return value.is_int64() || value.is_uint64();
        case ArgumentType::number:
            return value.is_number();
        case ArgumentType::boolean:
            return value.is_bool();
        case ArgumentType::array:
            return value.is_array();
        case ArgumentType::object:
            return value.is_object();
        case ArgumentType::any:
            return true;
    }
    return false;
}

void check(const Parameter& parameter, const json::object& given) {
    const auto* value = given.if_contains(parameter.name);
    if (value == nullptr) {
        if (parameter.need != Need::required) return;
        throw QmpError(ErrorClass::generic_error, "Parameter '{}' is missing", parameter.name);
    }
    if (!is_of(parameter.type, *value)) {
        throw QmpError(ErrorClass::generic_error, "Invalid parameter type for '{}', expected: {}",
                       parameter.name, name_of(parameter.type));
    }
    if (parameter.type == ArgumentType::size && value->is_int64() && value->get_int64() < 0) {
        throw QmpError(ErrorClass::generic_error,
                       "Parameter '{}' does not accept value {}: it must be 0 or more",
                       parameter.name, value->get_int64());
    }
    if (parameter.values.empty() || !value->is_string()) return;
    const std::string_view text = value->get_string();
    if (std::ranges::find(parameter.values, text) == parameter.values.end()) {
        throw QmpError(ErrorClass::generic_error, "Parameter '{}' does not accept value '{}'",
                       parameter.name, text);
    }
}

void check_exactly_one(const std::vector<Parameter>& parameters, const json::object& given) {
    std::vector<std::string> names;
    std::size_t count = 0;
    for (const auto& parameter : parameters) {
        if (parameter.need != Need::exactly_one) continue;
        names.push_back(fmt::format("'{}'", parameter.name));
        if (given.contains(parameter.name)) ++count;
    }
    if (names.empty() || count == 1) return;
    throw QmpError(ErrorClass::generic_error, "Need exactly one of {}",
                   fmt::to_string(fmt::join(names, " and ")));
}

}  // namespace

std::string_view name_of(ArgumentType type) noexcept {
    constexpr std::array<std::string_view, 8> names{"string",  "integer", "integer", "number",
                                                    "boolean", "array",   "object",  "any"};
    return names[static_cast<std::size_t>(type)];
}

Arguments::Arguments(const std::vector<Parameter>& parameters, json::object given, Others others)
    : given_(std::move(given)) {
    for (const auto& parameter : parameters) check(parameter, given_);
    check_exactly_one(parameters, given_);
    if (others == Others::accepted) return;
    for (const auto& member : given_) {
        const std::string_view name = member.key();
        if (std::ranges::find(parameters, name, &Parameter::name) == parameters.end()) {
            throw QmpError(ErrorClass::generic_error, "Parameter '{}' is unexpected", name);
        }
    }
}

std::string_view Arguments::given_one(std::initializer_list<std::string_view> names) const {
    const auto* const found =
        std::ranges::find_if(names, [this](std::string_view name) { return has(name); });
    return found == names.end() ? *names.begin() : *found;
}

void Arguments::read(const json::value& from, std::string& to) {
    to = from.as_string();
}
void Arguments::read(const json::value& from, std::int64_t& to) {
    to = from.as_int64();
}
void Arguments::read(const json::value& from, std::uint64_t& to) {
    to = from.to_number<std::uint64_t>();
}
void Arguments::read(const json::value& from, double& to) {
    to = from.to_number<double>();
}
void Arguments::read(const json::value& from, bool& to) {
    to = from.as_bool();
}
void Arguments::read(const json::value& from, json::array& to) {
    to = from.as_array();
}
void Arguments::read(const json::value& from, json::object& to) {
    to = from.as_object();
}

}  // namespace viaduct::control
