// Every file of scenarios, one line each.
#pragma once

#include "guest-images/probe/scenario.hpp"

namespace probe {

extern const ScenarioList pci_scenarios;
extern const ScenarioList block_scenarios;
extern const ScenarioList msix_scenarios;

inline constexpr const ScenarioList* scenario_lists[] = {
    &pci_scenarios,
    &block_scenarios,
    &msix_scenarios,
};

}  // namespace probe
