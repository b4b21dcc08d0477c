#include "vmm/properties.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/nearest_name.hpp"

namespace viaduct::vmm {
namespace {

std::vector<std::string> split_at_commas(std::string_view text) {
    std::vector<std::string> parts(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != ',') {
            parts.back() += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == ',') {
            parts.back() += text[i++];
        } else {
            parts.emplace_back();
        }
    }
    return parts;
}

[[noreturn]] void throw_unknown(std::string_view option, const std::string& name,
                                std::span<const PropertySetter> setters) {
    std::vector<std::string_view> names;
    for (const PropertySetter& setter : setters) names.push_back(setter.name);
    throw Error("{}: unknown property '{}': did you mean '{}'? (known are {})", option, name,
                nearest_name(name, names), fmt::join(names, ", "));
}

}  // namespace

Properties parse_properties(std::string_view option, std::string_view text) {
    const auto parts = split_at_commas(text);
    Properties properties{.head = parts.front(), .pairs = {}};
    for (auto part = parts.begin() + 1; part != parts.end(); ++part) {
        const auto equals = part->find('=');
        if (equals == std::string::npos || equals == 0) {
            throw Error("{}: '{}' in '{}' is not of the form name=value", option, *part, text);
        }
        properties.pairs.emplace_back(part->substr(0, equals), part->substr(equals + 1));
    }
    return properties;
}

void apply_properties(std::string_view option, const Properties& properties,
                      std::span<const PropertySetter> setters) {
    std::vector<std::string> seen;
    for (const auto& pair : properties.pairs) {
        const std::string& name = pair.first;
        const auto setter = std::find_if(setters.begin(), setters.end(),
                                         [&](const auto& known) { return known.name == name; });
        if (setter == setters.end()) throw_unknown(option, name, setters);
        if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
            throw Error("{}: property '{}' is given twice", option, name);
        }
        seen.push_back(name);
        setter->set(pair.second);
    }
}

bool parse_switch(std::string_view property, const std::string& value) {
    if (value == "on") return true;
    if (value == "off") return false;
    throw Error("{}={} is neither on nor off", property, value);
}

std::uint64_t parse_number(std::string_view property, const std::string& value,
                           std::uint64_t lowest, std::uint64_t highest) {
    const bool hexadecimal = value.starts_with("0x");
    const char* first = value.data() + (hexadecimal ? 2 : 0);
    const char* const end = value.data() + value.size();
    std::uint64_t number = 0;
    const auto [stop, error] = std::from_chars(first, end, number, hexadecimal ? 16 : 10);
    if (error != std::errc{} || stop != end || number < lowest || number > highest) {
        throw Error("{}={} is not a number from {} to {}", property, value, lowest, highest);
    }
    return number;
}

}  // namespace viaduct::vmm
