// The ACPI tables (ACPI 6.4): found through RSDP, checked when asked to, and the few fields the
// probe uses.
#pragma once

#include <cstdint>

#include "guest-images/probe/text.hpp"

namespace probe::acpi {

struct [[gnu::packed]] Rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
};

struct [[gnu::packed]] Header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    uint32_t creator_id;
    uint32_t creator_revision;
};

enum class AddressSpace : uint8_t { memory = 0, io = 1 };

struct [[gnu::packed]] GenericAddress {
    AddressSpace space;
    uint8_t bit_width;
    uint8_t bit_offset;
    uint8_t access_size;
    uint64_t address;

    void write(uint8_t value) const;
};

struct [[gnu::packed]] Fadt {
    Header header;
    uint32_t firmware_control;
    uint32_t dsdt;
    uint8_t unused_to_pm1a_control[20];
    uint32_t pm1a_control;
    uint8_t unused_to_century[40];
    uint8_t century;
    uint8_t unused_to_flags[3];
    uint32_t flags;
    GenericAddress reset_register;
    uint8_t reset_value;
    uint8_t unused_to_extended_dsdt[11];
    uint64_t extended_dsdt;
    uint8_t unused_to_sleep_control[96];
    GenericAddress sleep_control;
};
inline constexpr uint32_t fadt_reset_register_supported = 1U << 10;
inline constexpr uint32_t fadt_hardware_reduced = 1U << 20;

struct [[gnu::packed]] Mcfg {
    Header header;
    uint64_t reserved;
    uint64_t base;
    uint16_t segment;
    uint8_t first_bus;
    uint8_t last_bus;
    uint32_t reserved_entry;
};

// nullptr when there is none.
const Rsdp* find_rsdp();
const Header* find_table(Text signature);
const Header* find_dsdt();
template <typename T>
const T& require_table(Text signature);

uint8_t byte_sum(const void* start, uint64_t size);

// The SLP_TYP value of the DSDT's \_S5 package; ends the run when there is none.
uint8_t soft_off_sleep_type();

[[noreturn]] void report_missing(Text signature);

template <typename T>
const T& require_table(Text signature) {
    const Header* table = find_table(signature);
    if (table == nullptr) report_missing(signature);
    return *reinterpret_cast<const T*>(table);
}

}  // namespace probe::acpi
