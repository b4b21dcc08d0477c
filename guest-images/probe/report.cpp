#include "guest-images/probe/report.hpp"

#include "guest-images/probe/cpu.hpp"

namespace probe {
namespace {

constexpr uint16_t debug_exit_port = 0xf4;
constinit Text scenario_name{"start"};

}  // namespace

void set_scenario_name(Text name) {
    scenario_name = name;
}

void exit(uint32_t value) {
    out<uint32_t>(debug_exit_port, value);
    for (;;) asm volatile("cli; hlt");
}

void pass() {
    print("PASS ", scenario_name, "\n");
    exit(static_cast<uint32_t>(ExitValue::passed));
}

void begin_failure(Text file, int line, Text expression) {
    print("FAIL ", scenario_name, ": ", file, ":", line, ": ", expression);
}

void end_failure() {
    exit(static_cast<uint32_t>(ExitValue::failed));
}

}  // namespace probe
