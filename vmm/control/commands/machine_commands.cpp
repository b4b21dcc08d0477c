#include "vmm/control/commands/awaited.hpp"
#include "vmm/control/commands/commands.hpp"

namespace viaduct::control {
namespace {

using Awaitable = boost::asio::awaitable<boost::json::value>;

boost::json::value nothing() {
    return boost::json::object{};
}

/// When the machine has carried out the request.
Awaitable carried_out(Request<> request) {
    co_await awaited(request);
    co_return nothing();
}

/// QEMU's RunState for ours.
std::string_view status_of(vmm::RunState state) {
    switch (state) {
        case vmm::RunState::prelaunch:
            return "prelaunch";
        case vmm::RunState::running:
            return "running";
        case vmm::RunState::paused:
            return "paused";
        case vmm::RunState::shutdown:
            return "shutdown";
    }
    return "internal-error";
}

boost::json::value query_status(const vmm::Machine& machine) {
    const vmm::RunState state = machine.state();
    return boost::json::object{{"running", state == vmm::RunState::running},
                               {"singlestep", false},
                               {"status", status_of(state)}};
}

Returned status_shape() {
    return object_of({{.name = "running", .type = ArgumentType::boolean, .doc = "the vCPUs run"},
                      {.name = "singlestep", .type = ArgumentType::boolean, .doc = "never"},
                      {.name = "status",
                       .type = ArgumentType::string,
                       .doc = "the same in more detail",
                       .values = {"prelaunch", "running", "paused", "shutdown"}}});
}

Returned cpus_shape() {
    const auto number = [](std::string_view name, std::string_view doc) -> Member {
        return {.name = name, .type = ArgumentType::integer, .doc = doc};
    };
    return array_of(
        {number("cpu-index", "counted from 0"),
         number("thread-id", "the host's thread that runs it"),
         {.name = "qom-path", .type = ArgumentType::string, .doc = "what other commands call it"},
         {.name = "target", .type = ArgumentType::string, .doc = "its architecture"},
         {.name = "props",
          .type = ArgumentType::object,
          .doc = "where its guest sees it",
          .members = {number("socket-id", ""), number("core-id", ""), number("thread-id", "")}}});
}

boost::json::value query_cpus(const vmm::Machine& machine) {
    boost::json::array cpus;
    for (const vmm::Machine::Cpu& cpu : machine.cpus()) {
        cpus.push_back({{"cpu-index", cpu.index},
                        {"thread-id", cpu.thread_id},
                        {"qom-path", "/machine/cpu[" + std::to_string(cpu.index) + "]"},
                        {"target", "x86_64"},
                        {"props", {{"socket-id", 0}, {"core-id", cpu.index}, {"thread-id", 0}}}});
    }
    return cpus;
}

}  // namespace

void add_machine_commands(CommandTable& table, vmm::Machine& machine) {
    table.add({.name = "query-status",
               .doc = "Whether the machine runs.",
               .returns = status_shape(),
               .run = [&](const Arguments&) { return query_status(machine); }});
    table.add({.name = "query-name",
               .doc = "The machine's name.",
               .returns = object_of(
                   {{.name = "name", .type = ArgumentType::string, .doc = "as `--name` says"}}),
               .run = [&](const Arguments&) -> boost::json::value {
                   return boost::json::object{{"name", machine.config().name}};
               }});
    table.add({.name = "query-cpus-fast",
               .doc = "The vCPUs and the threads that run them.",
               .returns = cpus_shape(),
               .run = [&](const Arguments&) { return query_cpus(machine); }});
    table.add({.name = "stop",
               .doc = "Pauses the vCPUs and brings the devices to rest; answers when they are.",
               .run = [&](const Arguments&) {
                   return carried_out([&](auto done) { machine.stop(std::move(done)); });
               }});
    table.add({.name = "cont", .doc = "Lets a paused machine go on.", .run = [&](const Arguments&) {
                   return carried_out([&](auto done) { machine.resume(std::move(done)); });
               }});
    table.add({.name = "system_reset",
               .doc = "Resets the machine, as its reset button would.",
               .run = [&](const Arguments&) {
                   return carried_out(
                       [&](auto done) { machine.reset(vmm::cause::qmp_reset, std::move(done)); });
               }});
    table.add({.name = "system_powerdown",
               .doc = "Presses the power button: asks the guest to shut itself down.",
               .run = [&](const Arguments&) {
                   machine.press_power_button();
                   return nothing();
               }});
    table.add({.name = "quit",
               .doc = "Ends the machine, without asking its guest. Its devices come to rest first, "
                      "each in 5 seconds at most.",
               .run = [&](const Arguments&) {
                   machine.shut_down(vmm::cause::qmp_quit, 0);
                   return nothing();
               }});
}

}  // namespace viaduct::control
