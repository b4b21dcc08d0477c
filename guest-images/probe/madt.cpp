#include "guest-images/probe/madt.hpp"

#include "guest-images/probe/acpi.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::madt {
namespace {

enum class EntryType : uint8_t { local_apic = 0, io_apic = 1, override = 2, local_x2apic = 9 };

constexpr uint64_t first_entry = sizeof(acpi::Header) + 8;
constexpr uint32_t enabled = 1;
constexpr uint16_t polarity_mask = 0x3;
constexpr uint16_t polarity_low = 0x3;
constexpr uint16_t trigger_mask = 0xc;
constexpr uint16_t trigger_level = 0xc;

template <typename Visitor>
void visit_entries(EntryType wanted, Visitor visit) {
    const auto& table = acpi::require_table<acpi::Header>("APIC");
    const auto base = reinterpret_cast<uint64_t>(&table);
    for (uint64_t at = first_entry; at + 2 <= table.length;) {
        const auto type = static_cast<EntryType>(mmio_read<uint8_t>(base + at));
        const auto length = mmio_read<uint8_t>(base + at + 1);
        CHECK(length >= 2 && at + length <= table.length, "MADT entry at ", at, " length ", length);
        if (type == wanted) visit(base + at);
        at += length;
    }
}

IsaInterrupt read_override(uint64_t entry) {
    const auto flags = mmio_read<uint16_t>(entry + 8);
    return {mmio_read<uint32_t>(entry + 4), (flags & trigger_mask) == trigger_level,
            (flags & polarity_mask) == polarity_low};
}

}  // namespace

CpuList cpus() {
    CpuList list{};
    const auto add = [&list](uint32_t apic_id, uint32_t flags) {
        if ((flags & enabled) == 0 || list.count == most_cpus) return;
        list.apic_ids[list.count++] = apic_id;
    };
    visit_entries(EntryType::local_apic, [&](uint64_t entry) {
        add(mmio_read<uint8_t>(entry + 3), mmio_read<uint32_t>(entry + 4));
    });
    visit_entries(EntryType::local_x2apic, [&](uint64_t entry) {
        add(mmio_read<uint32_t>(entry + 4), mmio_read<uint32_t>(entry + 8));
    });
    return list;
}

IoApic io_apic() {
    IoApic found{};
    visit_entries(EntryType::io_apic, [&](uint64_t entry) {
        if (found.count++ != 0) return;
        found.address = mmio_read<uint32_t>(entry + 4);
        found.gsi_base = mmio_read<uint32_t>(entry + 8);
    });
    CHECK(found.count > 0, "the MADT has no I/O APIC");
    return found;
}

IsaInterrupt isa_interrupt(uint8_t irq) {
    IsaInterrupt interrupt{irq, false, false};
    visit_entries(EntryType::override, [&](uint64_t entry) {
        if (mmio_read<uint8_t>(entry + 3) == irq) interrupt = read_override(entry);
    });
    return interrupt;
}

bool find_override_of_gsi(uint32_t gsi, IsaInterrupt& found) {
    bool is_found = false;
    visit_entries(EntryType::override, [&](uint64_t entry) {
        const IsaInterrupt interrupt = read_override(entry);
        if (interrupt.gsi != gsi) return;
        found = interrupt;
        is_found = true;
    });
    return is_found;
}

}  // namespace probe::madt
