/// Comma-separated options of one command-line argument: "2G,hugepages=on" has the head "2G" and
/// the property hugepages=on. A comma inside a value is written twice.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace viaduct::vmm {

struct Properties {
    std::string head;
    std::vector<std::pair<std::string, std::string>> pairs;
};

/// Throws Error for a part without '=' after the head. `option` names the argument in errors.
Properties parse_properties(std::string_view option, std::string_view text);

/// A property's name and what takes its value.
struct PropertySetter {
    std::string name;
    std::function<void(const std::string& value)> set;
};

/// Hands each pair to its setter. Throws Error for an unknown name (the nearest valid one and the
/// whole list are named) and for one given twice.
void apply_properties(std::string_view option, const Properties& properties,
                      std::span<const PropertySetter> setters);

/// "on" or "off"; throws Error.
bool parse_switch(std::string_view property, const std::string& value);

/// A whole number from `lowest` to `highest`, decimal or 0x…; throws Error.
std::uint64_t parse_number(std::string_view property, const std::string& value,
                           std::uint64_t lowest, std::uint64_t highest);

}  // namespace viaduct::vmm
