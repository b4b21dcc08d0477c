// A named scenario, and the list that each file of scenarios/ contributes.
#pragma once

#include <cstddef>

#include "guest-images/probe/text.hpp"

namespace probe {

struct Scenario {
    Text name;
    void (*run)() = nullptr;  // returns when passed
};

struct ScenarioList {
    const Scenario* first;
    size_t count;

    template <size_t n>
    constexpr ScenarioList(const Scenario (&scenarios)[n]) : first{scenarios}, count{n} {}
};

}  // namespace probe
