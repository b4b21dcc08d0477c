#include "vmm/ctl/command_line.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "base/nearest_name.hpp"
#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {
namespace {

constexpr const char* help_text =
    "-s and --json may also stand after the command. VIADUCT_SOCKET is the default for -s, which\n"
    "all but devices need.\n"
    "The exit status is 0, 1 for what went wrong, or 2 for wrong usage.\n"
    "viaductctl COMMAND --help tells more of a command.";

struct Common {
    std::string socket;
    bool as_json = false;
};

void add_options(CLI::App& app, Common& common) {
    app.set_version_flag("--version", VIADUCT_VERSION);
    app.add_option("-s,--socket", common.socket, "the machine: where its --qmp is")
        ->type_name("PATH|unix:PATH|tcp:HOST:PORT");
    app.add_flag("--json", common.as_json, "print the reply's value for programs");
}

/// Options of the program may stand anywhere, and what nobody knows is refused by us.
void take_all_words(CLI::App& app) {
    app.allow_extras();
    for (CLI::App* command : app.get_subcommands({})) {
        command->fallthrough();
        take_all_words(*command);
    }
}

void add_commands(CLI::App& app, Command& chosen) {
    constexpr std::array groups{add_machine_commands, add_vdpa_commands,  add_throttle_command,
                                add_block_commands,   add_top_command,    add_events_command,
                                add_qmp_command,      add_devices_command};
    for (const auto add : groups) add(app, chosen);
    app.require_subcommand(1);
    take_all_words(app);
}

std::string nearest(const std::string& typed, const std::vector<std::string>& names) {
    std::vector<std::string_view> views(names.begin(), names.end());
    // Of equally near ones the one with two letters swapped is meant: it is as long.
    std::stable_partition(views.begin(), views.end(),
                          [&](std::string_view name) { return name.size() == typed.size(); });
    return std::string(nearest_name(typed, views));
}

std::vector<std::string> names_of_commands(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
    return names;
}

void add_option_names(const CLI::App& app, std::vector<std::string>& names) {
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
}

/// The commands that were typed, each below the one before: "devices", "bind".
std::vector<const CLI::App*> typed_commands(const CLI::App& app) {
    std::vector<const CLI::App*> typed;
    for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
        at = at->get_subcommands().front();
        typed.push_back(at);
    }
    return typed;
}

/// "devices bind"
std::string words_of(const std::vector<const CLI::App*>& typed) {
    std::string words;
    for (const CLI::App* command : typed) words += (words.empty() ? "" : " ") + command->get_name();
    return words;
}

/// The word that nothing on the command line explains, and what it may have been meant to be.
void refuse_leftovers(const CLI::App& app) {
    const auto leftovers = app.remaining(true);
    if (leftovers.empty()) return;
    const std::string& word = leftovers.front();
    const auto typed = typed_commands(app);
    if (word.starts_with('-')) {
        std::vector<std::string> names;
        add_option_names(app, names);
        for (const CLI::App* command : typed) add_option_names(*command, names);
        throw UsageError("unknown option '{}': did you mean '{}'? (--help lists all)", word,
                         nearest(word, names));
    }
    const CLI::App& last = typed.empty() ? app : *typed.back();
    if (const auto names = names_of_commands(last); !names.empty()) {
        const std::string before = typed.empty() ? "" : words_of(typed) + " ";
        throw UsageError(
            "unknown command '{}{}': did you mean '{}{}'? (viaductctl {}--help lists "
            "all)",
            before, word, before, nearest(word, names), before);
    }
    throw UsageError("{0}: '{1}' is one word too many (viaductctl {0} --help tells more)",
                     words_of(typed), word);
}

std::string help_of(const CLI::App& app) {
    auto typed = typed_commands(app);
    if (typed.empty()) return app.help();
    const CLI::App* const last = typed.back();
    typed.pop_back();
    return last->help(app.get_name() + (typed.empty() ? "" : " " + words_of(typed)));
}

/// False when --help or --version was asked for and printed.
bool parse(CLI::App& app, int argc, const char* const* argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help_of(app));
        return false;
    } catch (const CLI::CallForVersion& version) {
        fmt::print("viaductctl {}\n", version.what());
        return false;
    } catch (const CLI::ParseError& wrong) {
        refuse_leftovers(app);
        if (app.get_subcommands().empty()) throw UsageError("say what to do: --help lists all");
        throw UsageError("{} (viaductctl {} --help tells more)", wrong.what(),
                         words_of(typed_commands(app)));
    }
    refuse_leftovers(app);
    return true;
}

}  // namespace

std::optional<Invocation> parse_command_line(int argc, const char* const* argv,
                                             const std::string& socket) {
    CLI::App app{"Looks at a running viaduct and steers it, and at the host's vDPA devices",
                 "viaductctl"};
    Common common;
    Command command;
    add_options(app, common);
    add_commands(app, command);
    app.footer(help_text);
    if (!parse(app, argc, argv)) return std::nullopt;
    if (app.got_subcommand(host_command)) {
        return Invocation{.address = {}, .as_json = common.as_json, .command = std::move(command)};
    }
    const std::string& where = common.socket.empty() ? socket : common.socket;
    if (where.empty()) {
        throw UsageError(
            "say which machine: -s PATH, as in its --qmp unix:PATH, or set VIADUCT_SOCKET");
    }
    return Invocation{
        .address = parse_address(where), .as_json = common.as_json, .command = std::move(command)};
}

std::vector<std::string> command_names() {
    CLI::App app;
    Command chosen;
    add_commands(app, chosen);
    return names_of_commands(app);
}

int run(int argc, const char* const* argv) noexcept {
    try {
        const char* const socket = std::getenv("VIADUCT_SOCKET");
        const auto asked = parse_command_line(argc, argv, socket != nullptr ? socket : "");
        if (!asked) return 0;
        Session session(asked->address, asked->as_json);
        asked->command(session);
        return 0;
    } catch (const UsageError& wrong) {
        fmt::print(stderr, "viaductctl: {}\n", wrong.what());
        return 2;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "viaductctl: {}\n", failure.what());
        return 1;
    }
}

}  // namespace viaduct::ctl
