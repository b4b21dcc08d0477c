#include <array>

#include <CLI/CLI.hpp>

#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/table.hpp"

namespace viaduct::ctl {
namespace {

void show_status(Session& session) {
    const auto status = session.ask("query-status");
    if (session.as_json()) return Session::print_json(status);
    const auto name = session.ask("query-name");
    const auto version = session.ask("query-version");
    const auto cpus = session.ask("query-cpus-fast");
    Session::print(property_list({{"name", text(name, "name")},
                                  {"status", text(status, "status")},
                                  {"vcpus", std::to_string(elements(cpus).size())},
                                  {"version", text(version, "package")}}));
}

/// Commands that do one thing and have nothing to tell.
struct Order {
    const char* word;
    const char* command;
    const char* doc;
};

constexpr std::array orders{
    Order{"stop", "stop", "pause the vCPUs and bring the devices to rest"},
    Order{"cont", "cont", "let a paused machine go on"},
    Order{"reset", "system_reset", "reset the machine, as its reset button would"},
    Order{"powerdown", "system_powerdown", "press the power button: ask the guest to shut down"},
    Order{"quit", "quit", "end the machine at once"},
};

void give(const Order& order, Session& session) {
    boost::json::value reply;
    QmpClient& machine = session.machine();
    try {
        reply = machine.execute(order.command);
    } catch (const ConnectionLost&) {
        // Told to quit, it may be gone before it has said so.
        if (std::string_view(order.command) != "quit") throw;
        reply = boost::json::object{};
    }
    if (session.as_json()) Session::print_json(reply);
}

}  // namespace

void add_machine_commands(CLI::App& app, Command& chosen) {
    app.add_subcommand("status", "whether the machine runs")->callback([&] {
        chosen = show_status;
    });
    for (const Order& order : orders) {
        app.add_subcommand(order.word, order.doc)->callback([&] {
            chosen = [&order](Session& session) { give(order, session); };
        });
    }
}

}  // namespace viaduct::ctl
