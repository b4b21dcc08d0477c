// CPUs: what CPUID and the MADT say, starting them, and interrupts between them.
#include <atomic>

#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/smp.hpp"

namespace probe {
namespace {

constexpr uint64_t seconds_for_all = 30;

// What a CPU reads about itself.
struct Identity {
    uint32_t apic_id;        // the local APIC's own register
    uint32_t leaf_1_id;      // CPUID 1, EBX 31:24
    uint32_t leaf_1_count;   // CPUID 1, EBX 23:16
    uint32_t leaf_b_id;      // CPUID 0xb, EDX
    uint32_t package_shift;  // CPUID 0xb, the core level's EAX 4:0
    uint32_t package_count;  // CPUID 0xb, the core level's EBX 15:0
};

void read_identity(void* context) {
    auto& identity = *static_cast<Identity*>(context);
    constexpr uint32_t topology_leaf = 0xb;
    constexpr uint32_t core_level = 2;
    identity.apic_id = lapic::id();
    const CpuidResult basic = cpuid(1);
    identity.leaf_1_id = basic.ebx >> 24;
    identity.leaf_1_count = basic.ebx >> 16 & 0xff;
    CHECK(cpuid(0).eax >= topology_leaf, "highest CPUID leaf ", cpuid(0).eax);
    identity.leaf_b_id = cpuid(topology_leaf).edx;
    for (uint32_t subleaf = 0; subleaf < 4; ++subleaf) {
        const CpuidResult level = cpuid(topology_leaf, subleaf);
        if ((level.ecx >> 8 & 0xff) != core_level) continue;
        CHECK_EQUAL(level.ecx & 0xff, subleaf);
        identity.package_shift = level.eax & 0x1f;
        identity.package_count = level.ebx & 0xffff;
    }
}

size_t count_in_package(const Identity* identities, size_t cpus, uint32_t package) {
    size_t count = 0;
    for (size_t i = 0; i < cpus; ++i) {
        if (identities[i].leaf_b_id >> identities[i].package_shift == package) ++count;
    }
    return count;
}

void run_cpu_topology() {
    constexpr uint32_t cpuid_1_edx_multithreading = 1U << 28;
    const size_t cpus = smp::start_all();
    CHECK_EQUAL(uint64_t{cpus}, option_number("cpus", cpus));
    Identity identities[madt::most_cpus]{};
    for (size_t i = 1; i < cpus; ++i) smp::run(i, read_identity, &identities[i]);
    read_identity(&identities[0]);
    smp::wait_all(cpus, seconds_for_all);
    for (size_t i = 0; i < cpus; ++i) {
        const Identity& cpu = identities[i];
        CHECK_EQUAL(cpu.apic_id, smp::apic_id(i));
        CHECK_EQUAL(cpu.leaf_1_id, cpu.apic_id & 0xff);
        CHECK_EQUAL(cpu.leaf_b_id, cpu.apic_id);
        CHECK_EQUAL(count_in_package(identities, cpus, cpu.leaf_b_id >> cpu.package_shift),
                    size_t{cpu.package_count});
        const bool has_siblings = cpu.package_count > 1;
        CHECK(!has_siblings || (cpuid(1).edx & cpuid_1_edx_multithreading) != 0);
        CHECK(!has_siblings || cpu.leaf_1_count >= cpu.package_count, cpu.leaf_1_count);
        for (size_t j = 0; j < i; ++j) CHECK(identities[j].apic_id != cpu.apic_id, cpu.apic_id);
    }
    print(cpus, " CPUs, ", identities[0].package_count, " in a package\n");
}

constexpr uint32_t increments = 200;

struct Contended {
    bool is_locked;
    uint32_t plain_total;   // under the lock
    uint32_t atomic_total;  // without
};

void increment(void* context) {
    auto& contended = *static_cast<Contended*>(context);
    for (uint32_t i = 0; i < increments; ++i) {
        const auto take = [&] { return !std::atomic_ref{contended.is_locked}.exchange(true); };
        CHECK(spin_until(10_s, take), "the lock is never free");
        volatile uint32_t& total = contended.plain_total;
        total = total + 1;
        std::atomic_ref{contended.is_locked}.store(false);
        std::atomic_ref{contended.atomic_total}.fetch_add(1);
    }
}

struct Exchange {
    uint32_t boot_apic_id;
    uint8_t reply_vector;
    bool is_replying;
};

void reply(void* context) {
    const auto& exchange = *static_cast<const Exchange*>(context);
    if (exchange.is_replying) lapic::send(exchange.boot_apic_id, exchange.reply_vector);
}

void check_interrupts(size_t cpus) {
    Exchange exchange{lapic::id(), interrupts::allocate(), true};
    const uint8_t call_vector = interrupts::allocate(reply, &exchange);
    const auto wait_for = [](uint8_t vector, uint32_t count) {
        const Deadline deadline{5_s};
        // The count may be another CPU's, whose interrupts do not end our halt.
        while (interrupts::count(vector) < count && !deadline.has_passed()) halt_at_most(100_us);
        CHECK_EQUAL(interrupts::count(vector), count);
    };
    uint32_t calls = 0;
    for (int round = 0; round < 3; ++round) {
        for (size_t i = 1; i < cpus; ++i) {
            lapic::send(smp::apic_id(i), call_vector);
            wait_for(exchange.reply_vector, ++calls);
            CHECK_EQUAL(interrupts::last_cpu(call_vector), smp::apic_id(i));
            CHECK_EQUAL(interrupts::last_cpu(exchange.reply_vector), smp::apic_id(0));
        }
    }
    exchange.is_replying = false;
    lapic::send_to_others(call_vector);
    wait_for(call_vector, calls + static_cast<uint32_t>(cpus) - 1);
    lapic::send(lapic::id(), call_vector);
    wait_for(call_vector, calls + static_cast<uint32_t>(cpus));
    CHECK_EQUAL(interrupts::last_cpu(call_vector), lapic::id());
}

void run_smp() {
    const size_t cpus = smp::start_all();
    CHECK_EQUAL(uint64_t{cpus}, option_number("cpus", cpus));
    Contended contended{};
    for (size_t i = 1; i < cpus; ++i) smp::run(i, increment, &contended);
    increment(&contended);
    smp::wait_all(cpus, seconds_for_all);
    CHECK_EQUAL(contended.plain_total, cpus * increments);
    CHECK_EQUAL(contended.atomic_total, cpus * increments);
    check_interrupts(cpus);
    print(cpus, " CPUs\n");
}

constexpr Scenario scenarios[] = {
    {"cpu-topology", run_cpu_topology},
    {"smp", run_smp},
};

}  // namespace

constexpr ScenarioList processor_scenarios{scenarios};

}  // namespace probe
