// What the machine says about itself: ACPI tables, memory map, clock, and the places where nothing
// is.
#include <initializer_list>

#include "guest-images/probe/acpi.hpp"
#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/cmos.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/pages.hpp"
#include "guest-images/probe/pci.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"

namespace probe {
namespace {

void check_table(const acpi::Header* table, Text signature, uint32_t least_length) {
    CHECK(table != nullptr, "no table ", signature);
    CHECK((Text{table->signature, 4} == signature), (Text{table->signature, 4}));
    CHECK(table->length >= least_length && table->length < 1 << 20, signature, table->length);
    CHECK(acpi::byte_sum(table, table->length) == 0, "checksum of ", signature);
}

void check_rsdp(const acpi::Rsdp* rsdp) {
    constexpr uint64_t first_version_size = 20;
    CHECK(rsdp != nullptr, "no RSDP");
    CHECK((Text{rsdp->signature, 8} == Text{"RSD PTR "}));
    CHECK_EQUAL(acpi::byte_sum(rsdp, first_version_size), 0);
    if (rsdp->revision < 2 && runs_on_qemu()) return;
    CHECK_EQUAL(rsdp->revision, 2);
    CHECK_EQUAL(rsdp->length, 36U);
    CHECK_EQUAL(acpi::byte_sum(rsdp, rsdp->length), 0);
    check_table(at_address<const acpi::Header>(rsdp->xsdt), "XSDT", 36);
}

void check_fadt(const acpi::Fadt& fadt) {
    const bool is_hardware_reduced = (fadt.flags & acpi::fadt_hardware_reduced) != 0;
    CHECK(is_hardware_reduced || fadt.pm1a_control != 0, "no way to power off");
    CHECK((fadt.flags & acpi::fadt_reset_register_supported) != 0, hex(fadt.flags));
    CHECK(fadt.reset_register.address != 0);
    check_table(acpi::find_dsdt(), "DSDT", 37);
    CHECK(acpi::soft_off_sleep_type() < 8, acpi::soft_off_sleep_type());
}

void run_acpi() {
    check_rsdp(acpi::find_rsdp());
    const uint32_t fadt_length = runs_on_qemu() ? 244 : 268;
    check_table(acpi::find_table("FACP"), "FACP", fadt_length);
    check_table(acpi::find_table("APIC"), "APIC", 44);
    check_table(acpi::find_table("MCFG"), "MCFG", 60);
    check_fadt(acpi::require_table<acpi::Fadt>("FACP"));
    const madt::CpuList cpus = madt::cpus();
    CHECK(cpus.count >= 1);
    CHECK_EQUAL(uint64_t{cpus.count}, option_number("cpus", cpus.count));
    CHECK_EQUAL(madt::io_apic().gsi_base, 0U);
    const auto& mcfg = acpi::require_table<acpi::Mcfg>("MCFG");
    CHECK(mcfg.base != 0 && mcfg.base % (1 << 20) == 0, hex(mcfg.base));
    CHECK_EQUAL(mcfg.segment, 0);
    CHECK_EQUAL(mcfg.first_bus, 0);
    print("ECAM at ", hex(mcfg.base), ", ", cpus.count, " CPUs\n");
}

// The last words of a range of RAM hold what is written to them.
void check_words(uint64_t address, uint64_t tag) {
    if (address >> 32 != 0) map_identity(address, 16);
    mmio_write<uint64_t>(address, tag);
    mmio_write<uint64_t>(address + 8, ~tag);
    CHECK_EQUAL(mmio_read<uint64_t>(address), tag);
}

void check_order(const MemoryMap& map) {
    for (const MemoryRange& a : map) {
        CHECK(a.size != 0 && a.end() > a.start, hex(a.start), hex(a.size));
        for (const MemoryRange& b : map) {
            CHECK(&a == &b || a.end() <= b.start || b.end() <= a.start, "overlap at ",
                  hex(a.start));
        }
    }
}

void run_memory_map() {
    constexpr uint64_t four_gib = 1ULL << 32;
    constexpr uint64_t low_memory_tolerance = 1 << 20;  // holes below 1 MiB, and tables
    const MemoryMap& map = boot_record().memory_map;
    CHECK(boot_record().protocol != BootProtocol::pvh || boot_record().pvh_version >= 1);
    CHECK(map.size() > 0, "no memory map");
    check_order(map);
    uint64_t total = 0;
    for (const MemoryRange& range : map) {
        print(hex(range.start), " to ", hex(range.end()), " type ",
              static_cast<uint32_t>(range.type), "\n");
        if (range.type != MemoryType::ram) continue;
        total += range.size;
        CHECK(range.start >= four_gib || range.end() <= four_gib, "RAM across 4 GiB");
    }
    const uint64_t expected = option_number("memory", total);
    CHECK(total <= expected && expected - total <= low_memory_tolerance, "RAM ", total, " of ",
          expected);
    // All tags are written before any is read again: two addresses that are one memory would show.
    for (const MemoryRange& range : map) {
        if (range.type != MemoryType::ram || range.start < low_memory_tolerance) continue;
        check_words(range.end() - 16, range.end());
        if (range.start >= four_gib) check_words(range.start, range.start);
    }
    for (const MemoryRange& range : map) {
        if (range.type != MemoryType::ram || range.start < low_memory_tolerance) continue;
        CHECK_EQUAL(mmio_read<uint64_t>(range.end() - 16), range.end());
        CHECK_EQUAL(mmio_read<uint64_t>(range.end() - 8), ~range.end());
        if (range.start >= four_gib) CHECK_EQUAL(mmio_read<uint64_t>(range.start), range.start);
    }
}

void run_rtc() {
    const cmos::Time first = cmos::read_time();
    print(first.year, "-", first.month, "-", first.day, " ", first.hour, ":", first.minute, ":",
          first.second, "\n");
    CHECK(first.year >= 2024 && first.year < 2100, first.year);
    CHECK(first.month >= 1 && first.month <= 12, first.month);
    CHECK(first.day >= 1 && first.day <= 31, first.day);
    CHECK(first.hour < 24 && first.minute < 60 && first.second < 60);
    const uint64_t epoch = cmos::to_epoch(first);
    const uint64_t host_epoch = option_number("epoch", epoch);
    const uint64_t difference = epoch > host_epoch ? epoch - host_epoch : host_epoch - epoch;
    CHECK(difference <= option_number("tolerance", 10), "epoch ", epoch, ", the host's ",
          host_epoch);
    const Stopwatch watch;
    const Deadline deadline{5_s};
    while (cmos::to_epoch(cmos::read_time()) < epoch + 2) {
        CHECK(!deadline.has_passed(), "two seconds do not pass within five");
        settle(20_ms);
    }
    CHECK(watch.elapsed().count >= 900'000, "two seconds passed in us ", watch.elapsed().count);
    CHECK(cmos::to_epoch(cmos::read_time()) <= epoch + 3);
}

template <typename T>
void check_open_bus(uint16_t port, uint64_t address) {
    const T all_ones = static_cast<T>(~T{0});
    CHECK_EQUAL(mmio_read<T>(address), runs_on_qemu() ? T{0} : all_ones);
    mmio_write<T>(address, 0);
    CHECK_EQUAL(mmio_read<T>(address), runs_on_qemu() ? T{0} : all_ones);
    if constexpr (sizeof(T) <= 4) {
        CHECK_EQUAL(in<T>(port), all_ones);
        out<T>(port, 0);
        CHECK_EQUAL(in<T>(port), all_ones);
    }
}

void run_unknown_ports() {
    constexpr uint64_t above_everything = 0x7f0000000;
    map_identity(above_everything, 4096);
    // The last of each straddles a page or a register boundary.
    const uint16_t ports[] = {0x5000, 0xabcd, 0xfff0};
    const uint64_t addresses[] = {0xdfff0000, above_everything, 0xdffefffe};
    for (size_t i = 0; i < 3; ++i) {
        check_open_bus<uint8_t>(ports[i], addresses[i]);
        check_open_bus<uint16_t>(ports[i], addresses[i]);
        check_open_bus<uint32_t>(ports[i], addresses[i]);
        check_open_bus<uint64_t>(ports[i], addresses[i]);
    }
}

constexpr Scenario scenarios[] = {
    {"acpi", run_acpi},
    {"memory-map", run_memory_map},
    {"rtc", run_rtc},
    {"unknown-ports", run_unknown_ports},
};

}  // namespace

constexpr ScenarioList machine_scenarios{scenarios};

}  // namespace probe
