#include "guest-images/probe/lapic.hpp"

#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::lapic {
namespace {

enum class Register : uint32_t {
    id = 0x802,
    task_priority = 0x808,
    end_of_interrupt = 0x80b,
    spurious_vector = 0x80f,
    interrupt_command = 0x830,
    timer_vector = 0x832,
    timer_initial_count = 0x838,
    timer_current_count = 0x839,
    timer_divide = 0x83e,
};

constexpr uint32_t msr_apic_base = 0x1b;
constexpr uint64_t apic_base_enable_x2apic = 0xc00;
constexpr uint32_t cpuid_1_ecx_x2apic = 1U << 21;

constexpr uint8_t timer_vector = 0xf0;
constexpr uint8_t spurious_vector = 0xff;
constexpr uint64_t software_enable = 0x100;
constexpr uint64_t timer_masked = 0x10000;
constexpr uint64_t divide_by_one = 0xb;
constexpr uint64_t timer_ticks_per_microsecond = 1'000;

// Interrupt command register (Intel SDM 3, 10.12.9).
constexpr uint64_t delivery_init = 0x500;
constexpr uint64_t delivery_startup = 0x600;
constexpr uint64_t level_assert = 0x4000;
constexpr uint64_t all_but_self = 0xc0000;

void write(Register reg, uint64_t value) {
    write_msr(static_cast<uint32_t>(reg), value);
}
uint64_t read(Register reg) {
    return read_msr(static_cast<uint32_t>(reg));
}

void command(uint32_t destination, uint64_t bits) {
    write(Register::interrupt_command, uint64_t{destination} << 32 | level_assert | bits);
}

// On an emulated processor the timer's interrupt has been seen to come before the `hlt` that waits
// for it, as if `sti` did not hold it back for one instruction more. So it comes again until it is
// disarmed.
void come_again(void* /*context*/) {
    write(Register::timer_initial_count, 1'000 * timer_ticks_per_microsecond);
}

}  // namespace

void enable() {
    CHECK((cpuid(1).ecx & cpuid_1_ecx_x2apic) != 0, "CPUID does not offer x2APIC");
    write_msr(msr_apic_base, read_msr(msr_apic_base) | apic_base_enable_x2apic);
    interrupts::install(timer_vector, come_again);
    interrupts::install(spurious_vector);
    write(Register::task_priority, 0);
    write(Register::spurious_vector, software_enable | spurious_vector);
    write(Register::timer_divide, divide_by_one);
}

uint32_t id() {
    return static_cast<uint32_t>(read(Register::id));
}

void end_of_interrupt() {
    write(Register::end_of_interrupt, 0);
}

void arm_timer(Microseconds duration) {
    const uint64_t longest = 0xffffffff / timer_ticks_per_microsecond;
    const uint64_t count = duration.count < longest ? duration.count : longest;
    write(Register::timer_vector, timer_vector);
    write(Register::timer_initial_count, count == 0 ? 1 : count * timer_ticks_per_microsecond);
}

void disarm_timer() {
    write(Register::timer_initial_count, 0);
}

uint64_t measure_tsc_ticks_per_microsecond() {
    constexpr uint32_t window_microseconds = 2'000;
    write(Register::timer_vector, timer_masked | timer_vector);
    write(Register::timer_initial_count, 0xffffffff);
    const uint64_t count_start = read(Register::timer_current_count);
    const uint64_t tsc_start = read_tsc();
    uint64_t counted = 0;
    for (int tries = 0; counted < window_microseconds * timer_ticks_per_microsecond; ++tries) {
        CHECK(tries < 10'000'000, "the local APIC timer does not count");
        counted = count_start - read(Register::timer_current_count);
    }
    const uint64_t ticks = read_tsc() - tsc_start;
    disarm_timer();
    const uint64_t per_microsecond = ticks / (counted / timer_ticks_per_microsecond);
    CHECK(per_microsecond != 0, ticks);
    return per_microsecond;
}

void send(uint32_t destination, uint8_t vector) {
    command(destination, vector);
}
void send_to_others(uint8_t vector) {
    command(0, all_but_self | vector);
}
void send_init(uint32_t destination) {
    command(destination, delivery_init);
}
void send_startup(uint32_t destination, uint8_t page) {
    command(destination, delivery_startup | page);
}

}  // namespace probe::lapic
