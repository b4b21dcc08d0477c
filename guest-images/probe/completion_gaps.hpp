// How long a guest waited for the next completion at most. Each line that comes in on COM1 asks for
// it: the answer is "gap us=N", and the next one counts from there.
#pragma once

#include <cstdint>

#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/serial_input.hpp"

namespace probe {

// Lives as long as the machine once it listens.
class CompletionGaps {
public:
    void listen() { input_.turn_interrupt_on(); }
    void count_completion();
    // When it was asked for: the wait that is not over counts too, the time to print it does not.
    void answer();

private:
    serial::Input input_;
    uint64_t last_ = 0;  // in ticks of the TSC; 0: nothing yet
    uint64_t longest_ = 0;
};

}  // namespace probe
