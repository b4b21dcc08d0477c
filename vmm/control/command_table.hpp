/// The QMP commands by name: what a client can execute, what query-commands and query-qmp-schema
/// list, and what the reference is made from. A new command is one row.
///
///     table.add({.name = "block_resize",
///                .doc = "Tells the guest that the image behind a disk has grown.",
///                .parameters = {{.name = "id", .type = ArgumentType::string, .doc = "the disk"}},
///                .returns = object_of({{.name = "size", .type = ArgumentType::size,
///                                       .doc = "its size now, in bytes"}}),
///                .run = [&machine](const Arguments& arguments) -> boost::json::value {
///                    return {{"size", machine.resize(arguments.get<std::string>("id"))}};
///                }});
///
/// A command that has to wait returns an awaitable instead of a value; while it waits it holds up
/// only the client that asked. Commands run on the thread of the server's io_context.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>

#include "vmm/control/arguments.hpp"

namespace viaduct::control {

/// What a command returns: an object with these members, or an array of such objects.
struct Returned {
    bool is_array = false;
    std::vector<Member> members{};
};
[[nodiscard]] inline Returned object_of(std::vector<Member> members) {
    return {.is_array = false, .members = std::move(members)};
}
[[nodiscard]] inline Returned array_of(std::vector<Member> members) {
    return {.is_array = true, .members = std::move(members)};
}

struct Command {
    /// The arguments live until the command has returned its value.
    using AtOnce = std::function<boost::json::value(const Arguments&)>;
    using Waiting = std::function<boost::asio::awaitable<boost::json::value>(const Arguments&)>;

    std::string_view name;
    /// One line, for people.
    std::string_view doc;
    std::vector<Parameter> parameters{};
    Others other_arguments = Others::refused;
    /// By default the empty object.
    Returned returns{};
    std::variant<AtOnce, Waiting> run;
};

class CommandTable {
public:
    /// Holds the protocol's own commands: qmp_capabilities, query-version, query-commands,
    /// query-qmp-schema.
    CommandTable();
    CommandTable(const CommandTable&) = delete;
    CommandTable& operator=(const CommandTable&) = delete;
    ~CommandTable() = default;

    /// Throws Error when the name is taken.
    void add(Command command);

    /// The command of that name, or throws QmpError CommandNotFound.
    [[nodiscard]] const Command& at(std::string_view name) const;

    /// In the order of their names.
    [[nodiscard]] const std::map<std::string_view, Command>& commands() const noexcept {
        return commands_;
    }

private:
    std::map<std::string_view, Command> commands_;
};

}  // namespace viaduct::control
