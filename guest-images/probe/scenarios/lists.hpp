// Every file of scenarios, one line each.
#pragma once

#include "guest-images/probe/scenario.hpp"

namespace probe {

extern const ScenarioList bar_scenarios;
extern const ScenarioList block_scenarios;
extern const ScenarioList console_scenarios;
extern const ScenarioList deep_io_scenarios;
extern const ScenarioList hostile_scenarios;
extern const ScenarioList intx_scenarios;
extern const ScenarioList load_scenarios;
extern const ScenarioList machine_scenarios;
extern const ScenarioList msix_scenarios;
extern const ScenarioList pci_config_scenarios;
extern const ScenarioList power_scenarios;
extern const ScenarioList processor_scenarios;
extern const ScenarioList queue_setup_scenarios;
extern const ScenarioList reset_scenarios;
extern const ScenarioList ring_scenarios;
extern const ScenarioList transport_scenarios;

inline constexpr const ScenarioList* scenario_lists[] = {
    &machine_scenarios,    &processor_scenarios, &console_scenarios,   &power_scenarios,
    &pci_config_scenarios, &bar_scenarios,       &transport_scenarios, &queue_setup_scenarios,
    &block_scenarios,      &ring_scenarios,      &msix_scenarios,      &intx_scenarios,
    &reset_scenarios,      &load_scenarios,      &deep_io_scenarios,   &hostile_scenarios,
};

}  // namespace probe
