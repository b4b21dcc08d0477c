#include "vmm/control/command_table.hpp"

#include <utility>

#include "vmm/control/qmp_error.hpp"
#include "vmm/control/schema.hpp"
#include "vmm/control/version.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;

Member number(std::string_view name) {
    return {.name = name, .type = ArgumentType::integer, .doc = ""};
}

Command qmp_capabilities() {
    return {.name = "qmp_capabilities",
            .doc = "Leaves capabilities negotiation: a client's first command.",
            .parameters = {{.name = "enable",
                            .type = ArgumentType::array,
                            .doc = "capabilities to switch on; none is offered",
                            .need = Need::optional,
                            .element = ArgumentType::string}},
            // The first one is taken by the session itself; only a second one comes here.
            .run = [](const Arguments&) -> json::value {
                throw QmpError(ErrorClass::command_not_found,
                               "Capabilities negotiation is already complete, command ignored");
            }};
}

Command query_version() {
    return {.name = "query-version",
            .doc = "The version of Viaduct.",
            .returns = object_of({{.name = "qemu",
                                   .type = ArgumentType::object,
                                   .doc = "the version, where QEMU's clients look for it",
                                   .members = {number("major"), number("minor"), number("micro")}},
                                  {.name = "package",
                                   .type = ArgumentType::string,
                                   .doc = "the same as `viaduct-MAJOR.MINOR.MICRO`"}}),
            .run = [](const Arguments&) -> json::value { return version(); }};
}

Command query_commands(const CommandTable& table) {
    return {.name = "query-commands",
            .doc = "The names of all commands.",
            .returns = array_of(
                {{.name = "name", .type = ArgumentType::string, .doc = "a command's name"}}),
            .run = [&table](const Arguments&) -> json::value {
                json::array names;
                for (const auto& [name, command] : table.commands()) {
                    names.push_back(json::object{{"name", name}});
                }
                return names;
            }};
}

Command query_qmp_schema(const CommandTable& table) {
    return {.name = "query-qmp-schema",
            .doc =
                "All commands and events with the types of what they take, return and tell, in "
                "QEMU's form (its SchemaInfo). Type names say nothing and may change.",
            .returns = schema_shape(),
            .run = [&table](const Arguments&) -> json::value { return schema_of(table); }};
}

}  // namespace

CommandTable::CommandTable() {
    add(qmp_capabilities());
    add(query_version());
    add(query_commands(*this));
    add(query_qmp_schema(*this));
}

void CommandTable::add(Command command) {
    const auto name = command.name;
    if (!commands_.emplace(name, std::move(command)).second) {
        throw Error("the QMP command {} is defined twice", name);
    }
}

const Command& CommandTable::at(std::string_view name) const {
    const auto found = commands_.find(name);
    if (found == commands_.end()) {
        throw QmpError(ErrorClass::command_not_found, "The command {} has not been found", name);
    }
    return found->second;
}

}  // namespace viaduct::control
