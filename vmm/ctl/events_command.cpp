#include <CLI/CLI.hpp>

#include "base/interrupts.hpp"
#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/event_text.hpp"

namespace viaduct::ctl {
namespace {

void show_events(Session& session) {
    QmpClient& machine = session.machine();
    const Interrupts interrupts;
    machine.wake_on(interrupts.fd());
    while (true) {
        const auto received = machine.next_event(QmpClient::Clock::time_point::max());
        const auto* event = std::get_if<boost::json::object>(&received);
        if (event == nullptr) return;
        if (session.as_json()) {
            Session::print_json_line(*event);
        } else {
            Session::print(event_text(*event) + "\n");
        }
    }
}

}  // namespace

void add_events_command(CLI::App& app, Command& chosen) {
    app.add_subcommand("events", "print events as they come, until Ctrl-C or the machine's end")
        ->footer("With --json each event is a line of its own.")
        ->callback([&] { chosen = show_events; });
}

}  // namespace viaduct::ctl
