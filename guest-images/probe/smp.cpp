#include "guest-images/probe/smp.hpp"

#include <atomic>

#include "guest-images/probe/boot.h"
#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/pages.hpp"
#include "guest-images/probe/report.hpp"

extern "C" const uint8_t trampoline_start[];
extern "C" const uint8_t trampoline_end[];
extern "C" uint64_t application_stack;

namespace probe::smp {
namespace {

constexpr size_t stack_size = 16384;

struct Cpu {
    uint32_t apic_id;
    bool is_online;
    Work work;  // nullptr: idle
    void* context;
};

constinit Cpu cpus[madt::most_cpus]{};
constinit size_t starting = 0;
constinit uint8_t wake_vector = 0;

void start(size_t index) {
    Cpu& cpu = cpus[index];
    std::atomic_ref{starting}.store(index);
    application_stack = address_of(allocate(stack_size)) + stack_size;
    lapic::send_init(cpu.apic_id);
    settle(1_ms);
    lapic::send_startup(cpu.apic_id, TRAMPOLINE_ADDRESS >> 12);
    const auto is_online = [&cpu] { return std::atomic_ref{cpu.is_online}.load(); };
    if (!spin_until(200_ms, is_online)) {
        lapic::send_startup(cpu.apic_id, TRAMPOLINE_ADDRESS >> 12);
    }
    CHECK(spin_until(5_s, is_online), "CPU with APIC id ", cpu.apic_id, " does not start");
}

}  // namespace

extern "C" [[noreturn]] void application_processor_main() {
    Cpu& cpu = cpus[std::atomic_ref{starting}.load()];
    interrupts::load_table();
    lapic::enable();
    std::atomic_ref{cpu.is_online}.store(true);
    for (;;) {
        const Work work = std::atomic_ref{cpu.work}.load();
        if (work == nullptr) {
            halt_at_most(1_s);
            continue;
        }
        work(cpu.context);
        std::atomic_ref{cpu.work}.store(nullptr);
    }
}

size_t start_all() {
    const madt::CpuList list = madt::cpus();
    CHECK(list.count > 0, "the MADT has no CPU");
    tsc_ticks_per_microsecond();
    cpus[0] = {lapic::id(), true, nullptr, nullptr};
    size_t count = 1;
    for (size_t i = 0; i < list.count; ++i) {
        if (list.apic_ids[i] != cpus[0].apic_id) cpus[count++].apic_id = list.apic_ids[i];
    }
    CHECK(count == list.count, "the boot CPU's APIC id ", cpus[0].apic_id, " is not in the MADT");
    wake_vector = interrupts::allocate();
    __builtin_memcpy(at_address<void>(TRAMPOLINE_ADDRESS), trampoline_start,
                     static_cast<size_t>(trampoline_end - trampoline_start));
    for (size_t index = 1; index < count; ++index) start(index);
    return count;
}

uint32_t apic_id(size_t index) {
    return cpus[index].apic_id;
}

void run(size_t index, Work work, void* context) {
    Cpu& cpu = cpus[index];
    cpu.context = context;
    std::atomic_ref{cpu.work}.store(work);
    lapic::send(cpu.apic_id, wake_vector);
}

void wait_all(size_t count, uint64_t seconds) {
    const Deadline deadline{{seconds * 1'000'000}};
    for (size_t index = 1; index < count; ++index) {
        // Nobody interrupts us when it is done, so we look now and then.
        while (std::atomic_ref{cpus[index].work}.load() != nullptr) {
            CHECK(!deadline.has_passed(), "CPU ", index, " is not done after ", seconds, " s");
            halt_at_most(1_ms);
        }
    }
}

}  // namespace probe::smp
