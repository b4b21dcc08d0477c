#include "guest-images/probe/interrupts.hpp"

#include <atomic>
#include <cstddef>

#include "guest-images/probe/boot.h"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/report.hpp"

// Sixteen bytes of code per vector.
extern "C" const uint8_t vector_stubs[256][16];

namespace probe::interrupts {
namespace {

struct Gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t stack_table;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};
constexpr uint8_t interrupt_gate = 0x8e;
constexpr uint8_t first_free_vector = 0x40;

struct [[gnu::packed]] TablePointer {
    uint16_t limit;
    uint64_t base;
};

// Layout made by vectors.S, from the lowest address up.
struct InterruptFrame {
    uint64_t rbx, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

struct Entry {
    Handler handler;
    void* context;
    uint32_t count;
    uint32_t last_cpu;
};

constinit Gate table[256]{};
constinit Entry entries[256]{};
constinit uint32_t next_vector = first_free_vector;

void set_gate(uint8_t vector) {
    const auto address = reinterpret_cast<uint64_t>(vector_stubs[vector]);
    table[vector] = {.offset_low = static_cast<uint16_t>(address),
                     .selector = SELECTOR_CODE64,
                     .stack_table = 0,
                     .type = interrupt_gate,
                     .offset_middle = static_cast<uint16_t>(address >> 16),
                     .offset_high = static_cast<uint32_t>(address >> 32),
                     .reserved = 0};
}

[[noreturn]] void report_exception(const InterruptFrame& frame) {
    uint64_t cr2 = 0;
    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    FAIL("unexpected exception: vector ", frame.vector, " rip ", hex(frame.rip), " error ",
         hex(frame.error_code), " cr2 ", hex(cr2));
}

}  // namespace

extern "C" void vector_entry(const InterruptFrame* frame) {
    if (frame->vector < 32) report_exception(*frame);
    Entry& entry = entries[frame->vector];
    entry.last_cpu = lapic::id();
    std::atomic_ref{entry.count}.fetch_add(1);
    if (entry.handler != nullptr) entry.handler(entry.context);
    lapic::end_of_interrupt();
}

void load_table() {
    if (table[0].type == 0) {
        for (uint8_t vector = 0; vector < 32; ++vector) set_gate(vector);
    }
    const TablePointer pointer{sizeof(table) - 1, reinterpret_cast<uint64_t>(table)};
    asm volatile("lidt %0" : : "m"(pointer));
}

void install(uint8_t vector, Handler handler, void* context) {
    entries[vector] = {handler, context, 0, 0};
    set_gate(vector);
}

uint8_t allocate(Handler handler, void* context) {
    CHECK(next_vector < lapic::first_reserved_vector);
    const auto vector = static_cast<uint8_t>(next_vector++);
    install(vector, handler, context);
    return vector;
}

uint32_t count(uint8_t vector) {
    return std::atomic_ref{entries[vector].count}.load();
}

uint32_t last_cpu(uint8_t vector) {
    return std::atomic_ref{entries[vector].last_cpu}.load();
}

}  // namespace probe::interrupts
