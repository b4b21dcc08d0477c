// Ways to leave: power-off, reset, triple fault, debug-exit. What counts here is how the VMM ends
// or restarts; a scenario that comes to its own end has failed.
#include "guest-images/probe/acpi.hpp"
#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/cmos.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"

namespace probe {
namespace {

void run_power_off() {
    const auto& fadt = acpi::require_table<acpi::Fadt>("FACP");
    const uint64_t sleep_type = option_number("sleep-type", acpi::soft_off_sleep_type());
    print("power-off by sleep type ", sleep_type, "\n");
    if ((fadt.flags & acpi::fadt_hardware_reduced) != 0) {
        constexpr uint64_t sleep_enable = 1 << 5;
        fadt.sleep_control.write(static_cast<uint8_t>(sleep_type << 2 | sleep_enable));
    } else {
        constexpr uint64_t sleep_enable = 1 << 13;
        const auto control = static_cast<uint16_t>(fadt.pm1a_control);
        const auto kept = in<uint16_t>(control) & 0x3ffU;
        // Without the enable bit nothing happens.
        out<uint16_t>(control, static_cast<uint16_t>(kept | sleep_type << 10));
        settle(50_ms);
        print("enabling\n");
        out<uint16_t>(control, static_cast<uint16_t>(kept | sleep_type << 10 | sleep_enable));
    }
    settle(3_s);
    FAIL("still here three seconds after power-off");
}

void request_reset(Text how) {
    if (how == Text{"acpi"}) {
        const auto& fadt = acpi::require_table<acpi::Fadt>("FACP");
        CHECK((fadt.flags & acpi::fadt_reset_register_supported) != 0, hex(fadt.flags));
        fadt.reset_register.write(fadt.reset_value);
    } else if (how == Text{"cf9"}) {
        constexpr uint16_t reset_control = 0xcf9;
        out<uint8_t>(reset_control, 0x02);
        out<uint8_t>(reset_control, 0x06);
    } else if (how == Text{"keyboard"}) {
        constexpr uint16_t keyboard_command = 0x64;
        out<uint8_t>(keyboard_command, 0xfe);
    } else {
        FAIL("how=", how, " is none of acpi, cf9, keyboard");
    }
}

// The battery-backed memory carries the news of the first pass over a reset.
constexpr uint8_t pass_byte = 0x40;

bool is_second_pass() {
    constexpr uint8_t been_here = 0xa7;
    const bool is_second = cmos::read(pass_byte) == been_here;
    cmos::write(pass_byte, is_second ? 0 : been_here);
    CHECK_EQUAL(cmos::read(pass_byte), is_second ? 0 : been_here);
    print(is_second ? "second pass\n" : "first pass\n");
    return is_second;
}

void run_reset() {
    if (is_second_pass()) return;
    request_reset(option("how", "acpi"));
    settle(3_s);
    cmos::write(pass_byte, 0);
    FAIL("still here three seconds after the reset");
}

void run_triple_fault() {
    if (!option_switch("again") && is_second_pass()) return;
    struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } const nothing{0, 0};
    asm volatile("lidt %0; ud2" : : "m"(nothing));
    __builtin_unreachable();
}

void run_debug_exit() {
    exit(static_cast<uint32_t>(option_number("value", 0x10)));
}

constexpr Scenario scenarios[] = {
    {"power-off", run_power_off},
    {"reset", run_reset},
    {"triple-fault", run_triple_fault},
    {"debug-exit", run_debug_exit},
};

}  // namespace

constexpr ScenarioList power_scenarios{scenarios};

}  // namespace probe
