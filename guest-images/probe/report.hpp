// How a run ends: `PASS name` or `FAIL name: file:line: expression (values)`, then the debug-exit
// port.
#pragma once

#include "guest-images/probe/serial.hpp"

namespace probe {

// Written to port 0xf4; the VMM's exit status is (value << 1) | 1.
enum class ExitValue : uint32_t { passed = 0x10, failed = 0x11, unknown_scenario = 0x12 };

void set_scenario_name(Text name);
[[noreturn]] void exit(uint32_t value);
[[noreturn]] void pass();
void begin_failure(Text file, int line, Text expression);
[[noreturn]] void end_failure();

template <typename... Values>
[[noreturn]] [[gnu::noinline]] void fail(Text file, int line, Text expression,
                                         const Values&... values) {
    begin_failure(file, line, expression);
    print(" (", values..., ")\n");
    end_failure();
}

template <typename Left, typename Right>
[[gnu::noinline]] void check_equal(Text file, int line, Text expression, Left actual,
                                   Right expected) {
    if (actual == expected) return;
    fail(file, line, expression, "is ", hex(static_cast<uint64_t>(actual)), ", should be ",
         hex(static_cast<uint64_t>(expected)));
}

}  // namespace probe

// CHECK(condition, values to print) and CHECK_EQUAL(actual, expected) end the run unless they hold.
#define CHECK(condition, ...)                                                              \
    do {                                                                                   \
        if (!(condition))                                                                  \
            ::probe::fail(__FILE_NAME__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__); \
    } while (false)
#define CHECK_EQUAL(actual, expected) \
    ::probe::check_equal(__FILE_NAME__, __LINE__, #actual " == " #expected, actual, expected)
#define FAIL(...) ::probe::fail(__FILE_NAME__, __LINE__, "" __VA_OPT__(, ) __VA_ARGS__)
