#include "vmm/control/schema.hpp"

#include <array>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "vmm/control/events.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;

constexpr std::string_view empty_object = "empty";

/// A builtin type's name and the JSON type of its values.
struct Builtin {
    std::string_view name;
    std::string_view json_type;
};

Builtin builtin_of(ArgumentType type) {
    switch (type) {
        case ArgumentType::string:
            return {"str", "string"};
        case ArgumentType::integer:
        case ArgumentType::size:
            return {"int", "int"};
        case ArgumentType::number:
            return {"number", "number"};
        case ArgumentType::boolean:
            return {"bool", "boolean"};
        case ArgumentType::array:
        case ArgumentType::object:
        case ArgumentType::any:
            break;
    }
    return {"any", "value"};
}

/// Entries for types, each added once, when something first refers to it.
class Types {
public:
    /// The name of the type of a value that stands at `place`.
    std::string of(const Member& member, const std::string& place) {
        if (member.type == ArgumentType::array) {
            Member element = member;
            element.type = member.element;
            element.element = ArgumentType::any;
            return array_of(of(element, place));
        }
        if (!member.values.empty()) return enumeration(member, place);
        if (!member.members.empty()) return object(member.members, place);
        return builtin(builtin_of(member.type));
    }

    std::string object(const std::vector<Member>& members, const std::string& place) {
        std::string name(members.empty() ? empty_object : place);
        if (!known_.insert(name).second) return name;
        json::array described;
        for (const Member& member : members) {
            json::object entry{{"name", member.name},
                               {"type", of(member, fmt::format("{}.{}", place, member.name))}};
            if (member.need != Need::required) entry.emplace("default", nullptr);
            described.push_back(std::move(entry));
        }
        add({{"name", name}, {"meta-type", "object"}, {"members", std::move(described)}});
        return name;
    }

    std::string array_of(const std::string& element) {
        auto name = fmt::format("[{}]", element);
        if (known_.insert(name).second) {
            add({{"name", name}, {"meta-type", "array"}, {"element-type", element}});
        }
        return name;
    }

    [[nodiscard]] json::array take() { return std::move(entries_); }

private:
    std::string builtin(const Builtin& type) {
        if (known_.emplace(type.name).second) {
            add({{"name", type.name}, {"meta-type", "builtin"}, {"json-type", type.json_type}});
        }
        return std::string(type.name);
    }

    std::string enumeration(const Member& member, const std::string& place) {
        json::array members;
        json::array values;  // what clients of QEMU before 6.2 look at
        for (const auto value : member.values) {
            members.push_back(json::object{{"name", value}});
            values.emplace_back(value);
        }
        add({{"name", place},
             {"meta-type", "enum"},
             {"members", std::move(members)},
             {"values", std::move(values)}});
        return place;
    }

    void add(json::object entry) { entries_.emplace_back(std::move(entry)); }

    std::set<std::string, std::less<>> known_;
    json::array entries_;
};

Member optional(std::string_view name, ArgumentType type, std::string_view doc) {
    return {.name = name, .type = type, .doc = doc, .need = Need::optional};
}

}  // namespace

json::array schema_of(const CommandTable& table) {
    json::array entries;
    Types types;
    for (const auto& [name, command] : table.commands()) {
        auto returned =
            types.object(command.returns.members, fmt::format("{}.return", command.name));
        if (command.returns.is_array) returned = types.array_of(returned);
        entries.push_back({{"name", name},
                           {"meta-type", "command"},
                           {"arg-type", types.object(command.parameters,
                                                     fmt::format("{}.arguments", command.name))},
                           {"ret-type", returned}});
    }
    for (const Event& event : events()) {
        entries.push_back(json::object{
            {"name", event.name},
            {"meta-type", "event"},
            {"arg-type", types.object(event.members, fmt::format("{}.data", event.name))}});
    }
    for (auto& type : types.take()) entries.push_back(std::move(type));
    return entries;
}

Returned schema_shape() {
    Member members = optional("members", ArgumentType::array, "of an object or an enumeration");
    members.element = ArgumentType::object;
    members.members = {
        {.name = "name", .type = ArgumentType::string, .doc = ""},
        optional("type", ArgumentType::string, "of an object's member"),
        optional("default", ArgumentType::any, "null, of a member that may be left out")};
    Member values = optional("values", ArgumentType::array, "of an enumeration");
    values.element = ArgumentType::string;
    return array_of(
        {{.name = "name", .type = ArgumentType::string, .doc = "how other entries refer to it"},
         {.name = "meta-type",
          .type = ArgumentType::string,
          .doc = "what it is, and so which of the others it has",
          .values = {"command", "event", "builtin", "enum", "array", "object"}},
         optional("arg-type", ArgumentType::string,
                  "the object that a command takes, an event has"),
         optional("ret-type", ArgumentType::string, "what a command returns"),
         optional("json-type", ArgumentType::string, "of a builtin type"),
         optional("element-type", ArgumentType::string, "of an array"),
         std::move(members),
         std::move(values)});
}

}  // namespace viaduct::control
