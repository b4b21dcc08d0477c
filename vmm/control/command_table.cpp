#include "vmm/control/command_table.hpp"

#include <utility>

#include "vmm/control/qmp_error.hpp"
#include "vmm/control/version.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;

Command qmp_capabilities() {
    return {.name = "qmp_capabilities",
            .doc = "Leave capabilities negotiation: a client's first command.",
            .parameters = {{.name = "enable",
                            .type = ArgumentType::array,
                            .doc = "capabilities to switch on; none is offered",
                            .need = Need::optional}},
            // The first one is taken by the session itself; only a second one comes here.
            .run = [](const Arguments&) -> json::value {
                throw QmpError(ErrorClass::command_not_found,
                               "Capabilities negotiation is already complete, command ignored");
            }};
}

Command query_version() {
    return {.name = "query-version",
            .doc = "The version of Viaduct.",
            .run = [](const Arguments&) -> json::value { return version(); }};
}

Command query_commands(const CommandTable& table) {
    return {.name = "query-commands",
            .doc = "The names of all commands.",
            .run = [&table](const Arguments&) -> json::value {
                json::array names;
                for (const auto& [name, command] : table.commands()) {
                    names.push_back(json::object{{"name", name}});
                }
                return names;
            }};
}

}  // namespace

CommandTable::CommandTable() {
    add(qmp_capabilities());
    add(query_version());
    add(query_commands(*this));
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
