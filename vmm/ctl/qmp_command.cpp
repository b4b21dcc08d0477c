#include <memory>

#include <CLI/CLI.hpp>

#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/request_text.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

Connection::Duration limit_for(const json::object& request) {
    const auto* arguments = request.if_contains("arguments");
    const auto* object = arguments != nullptr ? arguments->if_object() : nullptr;
    return patience_for(text(request, "execute"), object != nullptr ? *object : json::object{});
}

void carry_out(Session& session, const json::object& request) {
    const auto limit = limit_for(request);
    const auto reply = session.machine().request(request, limit);
    Session::print_json(session.as_json() ? reply.at("return") : json::value(reply));
}

}  // namespace

void add_qmp_command(CLI::App& app, Command& chosen) {
    auto words = std::make_shared<std::vector<std::string>>();
    CLI::App& command = *app.add_subcommand("qmp", "send any QMP request and print the reply");
    command.footer(
        "viaductctl qmp '{\"execute\": \"query-status\"}'\n"
        "viaductctl qmp vdpa-set-datapath id=disk0 mode=slow\n"
        "With --json the reply's value alone is printed. query-commands lists the commands.");
    command.add_option("REQUEST", *words, "a request in JSON, or a command and name=value ...")
        ->required();
    command.callback([words, &chosen] {
        chosen = [request = parse_request(*words)](Session& session) {
            carry_out(session, request);
        };
    });
}

}  // namespace viaduct::ctl
