#include "firmware/acpi/tables.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "firmware/acpi/aml.hpp"
#include "firmware/acpi/dsdt.hpp"
#include "firmware/guest_ram.hpp"

namespace viaduct::firmware::acpi {
namespace {

// An APIC id of 255 or more does not fit a local APIC entry (ACPI 6.4, 5.2.12.12).
constexpr std::uint32_t first_x2apic_id = 255;

GenericAddress port(std::uint16_t address, std::uint16_t bytes) {
    constexpr std::uint8_t bits = 8;
    return {.address_space_id = system_io_space,
            .register_bit_width = static_cast<std::uint8_t>(bytes * bits),
            .access_size = static_cast<std::uint8_t>(bytes == 1 ? 1 : 2),
            .address = address};
}

Bytes build_fadt(Gpa dsdt_address, Gpa facs_address) {
    constexpr std::uint16_t no_c2 = 101;
    constexpr std::uint16_t no_c3 = 1001;
    // IAPC_BOOT_ARCH: ISA devices are there; no keyboard controller, VGA or ASPM.
    constexpr std::uint16_t boot_architecture = 1U << 0 | 1U << 2 | 1U << 4;
    // WBINVD, C1 on every CPU, no sleep button, no RTC wake status, RESET_REG. The power button's
    // bit is 0: it is a fixed event.
    constexpr std::uint32_t flags = 1U << 0 | 1U << 2 | 1U << 5 | 1U << 6 | 1U << 10;
    constexpr std::uint8_t century_register = 0x32;
    const Fadt fadt{
        .firmware_ctrl = static_cast<std::uint32_t>(facs_address.value),
        .dsdt = static_cast<std::uint32_t>(dsdt_address.value),
        .sci_int = sci_gsi,
        .pm1a_evt_blk = pm1a_event_port,
        .pm1a_cnt_blk = pm1a_control_port,
        .pm1_evt_len = pm1a_event_length,
        .pm1_cnt_len = pm1a_control_length,
        .p_lvl2_lat = no_c2,
        .p_lvl3_lat = no_c3,
        .century = century_register,
        .iapc_boot_arch = boot_architecture,
        .flags = flags,
        .reset_reg = port(reset_port, 1),
        .reset_value = reset_value,
        .minor_version = 4,
        .x_dsdt = dsdt_address.value,
        .x_pm1a_evt_blk = port(pm1a_event_port, pm1a_event_length),
        .x_pm1a_cnt_blk = port(pm1a_control_port, pm1a_control_length),
        .hypervisor_vendor_identity = {'V', 'I', 'A', 'D', 'U', 'C', 'T', ' '},
    };
    return Table({'F', 'A', 'C', 'P'}, 6).append(fadt).finish();
}

void append_cpu(Table& madt, std::uint32_t uid, std::uint32_t apic_id) {
    constexpr std::uint32_t enabled = 1;
    if (apic_id < first_x2apic_id && uid < first_x2apic_id) {
        madt.append(MadtLocalApic{.acpi_processor_uid = static_cast<std::uint8_t>(uid),
                                  .apic_id = static_cast<std::uint8_t>(apic_id),
                                  .flags = enabled});
    } else {
        madt.append(
            MadtLocalX2Apic{.x2apic_id = apic_id, .flags = enabled, .acpi_processor_uid = uid});
    }
}

Bytes build_madt(const AcpiPlan& plan) {
    constexpr std::uint32_t has_8259 = 1;
    constexpr std::uint16_t active_high_level = 0xd;
    Table madt({'A', 'P', 'I', 'C'}, 5);
    madt.append(Madt{
        .local_interrupt_controller_address = static_cast<std::uint32_t>(local_apic.base.value),
        .flags = has_8259});
    std::uint32_t uid = 0;
    for (const std::uint32_t apic_id : plan.apic_ids) append_cpu(madt, uid++, apic_id);
    madt.append(MadtIoApic{.io_apic_id = plan.io_apic_id,
                           .io_apic_address = static_cast<std::uint32_t>(io_apic.base.value)});
    madt.append(MadtInterruptSourceOverride{.source = 0, .global_system_interrupt = timer_gsi});
    madt.append(MadtInterruptSourceOverride{
        .source = sci_gsi, .global_system_interrupt = sci_gsi, .flags = active_high_level});
    madt.append(MadtLocalApicNmi{});
    if (std::ranges::any_of(plan.apic_ids, [](auto id) { return id >= first_x2apic_id; })) {
        madt.append(MadtLocalX2ApicNmi{});
    }
    return madt.finish();
}

Bytes build_mcfg() {
    constexpr std::uint8_t last_bus = 0;
    return Table({'M', 'C', 'F', 'G'}, 1)
        .append(Mcfg{.base_address = ecam.base.value, .end_bus = last_bus})
        .finish();
}

/// \_SB.PCI0.W64B and W64L are what dsdt.asl's _CRS waits for.
Bytes build_ssdt(const AcpiPlan& plan) {
    Bytes cpus;
    for (std::uint64_t uid = 0; uid < plan.apic_ids.size(); ++uid) {
        const Bytes cpu = aml::device(fmt::format("C{:03X}", uid),
                                      aml::join({aml::name("_HID", aml::string("ACPI0007")),
                                                 aml::name("_UID", aml::integer(uid))}));
        cpus.insert(cpus.end(), cpu.begin(), cpu.end());
    }
    const Bytes window = aml::join({aml::name("W64B", aml::integer(plan.pci_window_64.base.value)),
                                    aml::name("W64L", aml::integer(plan.pci_window_64.size))});
    return Table({'S', 'S', 'D', 'T'}, 2)
        .append_bytes(aml::scope("\\_SB_", cpus))
        .append_bytes(aml::scope("\\_SB_.PCI0", window))
        .finish();
}

/// Puts tables one after the other behind the RSDP's place and remembers where each went.
class Placement {
public:
    Gpa add(std::span<const std::byte> table, std::size_t alignment) {
        const std::size_t offset = (bytes_.size() + alignment - 1) / alignment * alignment;
        bytes_.resize(offset);
        bytes_.insert(bytes_.end(), table.begin(), table.end());
        return acpi_area.base + offset;
    }

    AcpiTables finish(Gpa xsdt_address) {
        Rsdp rsdp{.oem_id = oem_id, .xsdt_address = xsdt_address.value};
        const auto raw = std::as_bytes(std::span(&rsdp, 1));
        constexpr std::size_t checked_by_acpi_1 = 20;
        rsdp.checksum = checksum(raw.first(checked_by_acpi_1));
        rsdp.extended_checksum = checksum(raw);
        std::ranges::copy(raw, bytes_.begin());
        return {std::move(bytes_), acpi_area.base};
    }

private:
    Bytes bytes_ = Bytes(sizeof(Rsdp));
};

}  // namespace

AcpiTables build_acpi(const AcpiPlan& plan) {
    constexpr std::size_t facs_alignment = 64;
    constexpr std::size_t alignment = 16;
    Placement placement;
    const Facs facs;
    const Gpa facs_address = placement.add(std::as_bytes(std::span(&facs, 1)), facs_alignment);
    const Gpa dsdt_address = placement.add(dsdt(), alignment);

    Table xsdt({'X', 'S', 'D', 'T'}, 1);
    for (const Bytes& table : {build_fadt(dsdt_address, facs_address), build_madt(plan),
                               build_mcfg(), build_ssdt(plan)}) {
        xsdt.append(placement.add(table, alignment).value);
    }
    AcpiTables tables = placement.finish(placement.add(xsdt.finish(), alignment));
    if (tables.bytes.size() > acpi_area.size) {
        throw Error(
            "the ACPI tables for {} CPUs take {} bytes, there is room for {}; use fewer "
            "--cpus",
            plan.apic_ids.size(), tables.bytes.size(), acpi_area.size);
    }
    return tables;
}

void write_acpi(const AcpiTables& tables, const AddressSpace& ram) {
    store_bytes(ram, acpi_area.base, tables.bytes, "the ACPI tables");
}

}  // namespace viaduct::firmware::acpi
