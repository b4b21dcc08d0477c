#include "vmm/control/arguments.hpp"

#include <algorithm>
#include <array>
#include <utility>

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
        case ArgumentType::number:
            return value.is_number();
        case ArgumentType::boolean:
            return value.is_bool();
        case ArgumentType::array:
            return value.is_array();
        case ArgumentType::object:
            return value.is_object();
    }
    return false;
}

void check(const Parameter& parameter, const json::object& given) {
    const auto* value = given.if_contains(parameter.name);
    if (value == nullptr) {
        if (parameter.need == Need::optional) return;
        throw QmpError(ErrorClass::generic_error, "Parameter '{}' is missing", parameter.name);
    }
    if (!is_of(parameter.type, *value)) {
        throw QmpError(ErrorClass::generic_error, "Invalid parameter type for '{}', expected: {}",
                       parameter.name, name_of(parameter.type));
    }
    if (parameter.values.empty()) return;
    const std::string_view text = value->get_string();
    if (std::ranges::find(parameter.values, text) == parameter.values.end()) {
        throw QmpError(ErrorClass::generic_error, "Parameter '{}' does not accept value '{}'",
                       parameter.name, text);
    }
}

}  // namespace

std::string_view name_of(ArgumentType type) noexcept {
    constexpr std::array<std::string_view, 6> names{"string",  "integer", "number",
                                                    "boolean", "array",   "object"};
    return names[static_cast<std::size_t>(type)];
}

Arguments::Arguments(const std::vector<Parameter>& parameters, json::object given)
    : given_(std::move(given)) {
    for (const auto& parameter : parameters) check(parameter, given_);
    for (const auto& member : given_) {
        const std::string_view name = member.key();
        if (std::ranges::find(parameters, name, &Parameter::name) == parameters.end()) {
            throw QmpError(ErrorClass::generic_error, "Parameter '{}' is unexpected", name);
        }
    }
}

void Arguments::read(const json::value& from, std::string& to) {
    to = from.as_string();
}
void Arguments::read(const json::value& from, std::int64_t& to) {
    to = from.as_int64();
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
