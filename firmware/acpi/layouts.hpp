/// The ACPI tables as bytes (ACPI specification 6.4, chapter 5; MCFG: PCI Firmware Specification
/// 3.2, 4.1.2). Packed and little endian; field names are the specification's.
#pragma once

#include <array>
#include <cstdint>

namespace viaduct::firmware::acpi {

using Signature = std::array<char, 4>;

#pragma pack(push, 1)

/// 5.2.3.2
struct GenericAddress {
    std::uint8_t address_space_id = 0;
    std::uint8_t register_bit_width = 0;
    std::uint8_t register_bit_offset = 0;
    std::uint8_t access_size = 0;  // 1 byte, 2 word, 3 dword
    std::uint64_t address = 0;
};
static_assert(sizeof(GenericAddress) == 12);

inline constexpr std::uint8_t system_io_space = 1;

/// 5.2.5.3
struct Rsdp {
    std::array<char, 8> signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
    std::uint8_t checksum = 0;  // of the first 20 bytes
    std::array<char, 6> oem_id{};
    std::uint8_t revision = 2;
    std::uint32_t rsdt_address = 0;
    std::uint32_t length = 36;
    std::uint64_t xsdt_address = 0;
    std::uint8_t extended_checksum = 0;  // of all
    std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(Rsdp) == 36);

/// 5.2.6
struct TableHeader {
    Signature signature{};
    std::uint32_t length = 0;
    std::uint8_t revision = 0;
    std::uint8_t checksum = 0;
    std::array<char, 6> oem_id{};
    std::array<char, 8> oem_table_id{};
    std::uint32_t oem_revision = 0;
    std::array<char, 4> creator_id{};
    std::uint32_t creator_revision = 0;
};
static_assert(sizeof(TableHeader) == 36);

/// 5.2.9, what follows the header. Fields that stay 0 for this machine are grouped.
struct Fadt {
    std::uint32_t firmware_ctrl = 0;
    std::uint32_t dsdt = 0;
    std::uint8_t reserved = 0;
    std::uint8_t preferred_pm_profile = 0;
    std::uint16_t sci_int = 0;
    std::uint32_t smi_cmd = 0;
    std::array<std::uint8_t, 4> acpi_enable_disable_s4bios_pstate{};
    std::uint32_t pm1a_evt_blk = 0;
    std::uint32_t pm1b_evt_blk = 0;
    std::uint32_t pm1a_cnt_blk = 0;
    std::array<std::uint32_t, 5> pm1b_cnt_pm2_pm_tmr_gpe0_gpe1_blk{};
    std::uint8_t pm1_evt_len = 0;
    std::uint8_t pm1_cnt_len = 0;
    std::array<std::uint8_t, 6> pm2_pm_tmr_gpe0_gpe1_len_gpe1_base_cst_cnt{};
    std::uint16_t p_lvl2_lat = 0;
    std::uint16_t p_lvl3_lat = 0;
    std::array<std::uint8_t, 8> flush_and_duty_and_alarms{};
    std::uint8_t century = 0;
    std::uint16_t iapc_boot_arch = 0;
    std::uint8_t reserved2 = 0;
    std::uint32_t flags = 0;
    GenericAddress reset_reg{};
    std::uint8_t reset_value = 0;
    std::uint16_t arm_boot_arch = 0;
    std::uint8_t minor_version = 0;
    std::uint64_t x_firmware_ctrl = 0;
    std::uint64_t x_dsdt = 0;
    GenericAddress x_pm1a_evt_blk{};
    GenericAddress x_pm1b_evt_blk{};
    GenericAddress x_pm1a_cnt_blk{};
    std::array<GenericAddress, 7> x_pm1b_cnt_to_sleep_status{};
    std::array<char, 8> hypervisor_vendor_identity{};
};
static_assert(sizeof(TableHeader) + sizeof(Fadt) == 276);

/// 5.2.10. No header, no checksum; 64-byte aligned.
struct Facs {
    Signature signature = {'F', 'A', 'C', 'S'};
    std::uint32_t length = 64;
    std::array<std::uint8_t, 24> hardware_signature_to_waking_vector{};
    std::uint8_t version = 2;
    std::array<std::uint8_t, 31> reserved{};
};
static_assert(sizeof(Facs) == 64);

/// 5.2.12, what follows the header; then the structures below.
struct Madt {
    std::uint32_t local_interrupt_controller_address = 0;
    std::uint32_t flags = 0;
};

/// 5.2.12.2
struct MadtLocalApic {
    std::uint8_t type = 0;
    std::uint8_t length = 8;
    std::uint8_t acpi_processor_uid = 0;
    std::uint8_t apic_id = 0;
    std::uint32_t flags = 0;
};
static_assert(sizeof(MadtLocalApic) == 8);

/// 5.2.12.3
struct MadtIoApic {
    std::uint8_t type = 1;
    std::uint8_t length = 12;
    std::uint8_t io_apic_id = 0;
    std::uint8_t reserved = 0;
    std::uint32_t io_apic_address = 0;
    std::uint32_t global_system_interrupt_base = 0;
};
static_assert(sizeof(MadtIoApic) == 12);

/// 5.2.12.5
struct MadtInterruptSourceOverride {
    std::uint8_t type = 2;
    std::uint8_t length = 10;
    std::uint8_t bus = 0;  // ISA
    std::uint8_t source = 0;
    std::uint32_t global_system_interrupt = 0;
    std::uint16_t flags = 0;
};
static_assert(sizeof(MadtInterruptSourceOverride) == 10);

/// 5.2.12.7
struct MadtLocalApicNmi {
    std::uint8_t type = 4;
    std::uint8_t length = 6;
    std::uint8_t acpi_processor_uid = 0xff;  // all
    std::uint16_t flags = 0;
    std::uint8_t local_apic_lint = 1;
};
static_assert(sizeof(MadtLocalApicNmi) == 6);

/// 5.2.12.12
struct MadtLocalX2Apic {
    std::uint8_t type = 9;
    std::uint8_t length = 16;
    std::uint16_t reserved = 0;
    std::uint32_t x2apic_id = 0;
    std::uint32_t flags = 0;
    std::uint32_t acpi_processor_uid = 0;
};
static_assert(sizeof(MadtLocalX2Apic) == 16);

/// 5.2.12.13
struct MadtLocalX2ApicNmi {
    std::uint8_t type = 0xa;
    std::uint8_t length = 12;
    std::uint16_t flags = 0;
    std::uint32_t acpi_processor_uid = 0xffff'ffff;  // all
    std::uint8_t local_x2apic_lint = 1;
    std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(MadtLocalX2ApicNmi) == 12);

/// What follows the header, with the one segment that the machine has.
struct Mcfg {
    std::uint64_t reserved = 0;
    std::uint64_t base_address = 0;
    std::uint16_t pci_segment_group = 0;
    std::uint8_t start_bus = 0;
    std::uint8_t end_bus = 0;
    std::uint32_t reserved2 = 0;
};
static_assert(sizeof(TableHeader) + sizeof(Mcfg) == 60);

#pragma pack(pop)

}  // namespace viaduct::firmware::acpi
