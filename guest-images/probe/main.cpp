// From the boot code to the scenario that the command line names.
#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/ioapic.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"

namespace probe {
namespace {

// Runs before anything is prepared: the start-up benchmark times it from exec to this byte and to
// its exit.
void run_hello_if_asked() {
    if (option("scenario") != Text{"hello"}) return;
    set_scenario_name("hello");
    pass();
}

const Scenario* find_scenario(Text name) {
    for (const ScenarioList* list : scenario_lists) {
        for (size_t i = 0; i < list->count; ++i) {
            if (list->first[i].name == name) return &list->first[i];
        }
    }
    return nullptr;
}

}  // namespace

extern "C" [[noreturn]] void probe_main() {
    read_boot_record();
    run_hello_if_asked();
    const Text name = option("scenario");
    const Scenario* scenario = find_scenario(name);
    if (scenario == nullptr) {
        print("unknown scenario \"", name, "\"\n");
        exit(static_cast<uint32_t>(ExitValue::unknown_scenario));
    }
    set_scenario_name(name);
    interrupts::load_table();
    ioapic::silence_legacy_controllers();
    lapic::enable();
    scenario->run();
    pass();
}

}  // namespace probe
