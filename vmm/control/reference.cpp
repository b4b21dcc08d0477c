#include "vmm/control/reference.hpp"

#include <string_view>

#include <fmt/format.h>

#include "vmm/control/events.hpp"

namespace viaduct::control {
namespace {

std::string alternatives(const std::vector<std::string_view>& values) {
    std::string text;
    for (const auto value : values) {
        if (!text.empty()) text += " or ";
        text += fmt::format("`\"{}\"`", value);
    }
    return text;
}

/// What stands in brackets behind a member's name.
std::string type_text(const Member& member) {
    switch (member.type) {
        case ArgumentType::string:
            return member.values.empty() ? "string" : alternatives(member.values);
        case ArgumentType::size:
            return "integer from 0";
        case ArgumentType::array: {
            Member element = member;
            element.type = member.element;
            element.element = ArgumentType::any;
            return member.element == ArgumentType::any ? "array" : "array of " + type_text(element);
        }
        case ArgumentType::any:
            return "any value";
        case ArgumentType::integer:
        case ArgumentType::number:
        case ArgumentType::boolean:
        case ArgumentType::object:
            break;
    }
    return std::string(name_of(member.type));
}

std::string_view need_text(Need need) {
    switch (need) {
        case Need::required:
            return "";
        case Need::optional:
            return ", optional";
        case Need::exactly_one:
            return ", exactly one of these";
    }
    return "";
}

std::string list_of(const std::vector<Member>& members, std::size_t indent = 0) {
    std::string text;
    for (const Member& member : members) {
        text += fmt::format("{:{}}- `{}` ({}{}){}{}\n", "", indent, member.name, type_text(member),
                            need_text(member.need), member.doc.empty() ? "" : ": ", member.doc);
        text += list_of(member.members, indent + 2);
    }
    return text;
}

std::string section_of(const Command& command) {
    std::string text = fmt::format("\n#### `{}`\n\n{}\n", command.name, command.doc);
    if (!command.parameters.empty()) {
        text += "\nArguments:\n\n" + list_of(command.parameters);
        if (command.other_arguments == Others::accepted) text += "- any others\n";
    }
    if (!command.returns.members.empty()) {
        text += command.returns.is_array ? "\nReturns an array of objects:\n\n" : "\nReturns:\n\n";
        text += list_of(command.returns.members);
    }
    return text;
}

std::string section_of(const Event& event) {
    std::string text = fmt::format("\n#### `{}`\n\n{}\n", event.name, event.doc);
    if (!event.members.empty()) text += "\n" + list_of(event.members);
    return text;
}

}  // namespace

std::string reference_of(const CommandTable& table) {
    std::string text = "### Commands\n";
    for (const auto& [name, command] : table.commands()) text += section_of(command);
    text += "\n### Events\n";
    for (const Event& event : events()) text += section_of(event);
    return text;
}

}  // namespace viaduct::control
