#include "guest-images/probe/acpi.hpp"

#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::acpi {
namespace {

static_assert(__builtin_offsetof(Fadt, pm1a_control) == 64);
static_assert(__builtin_offsetof(Fadt, century) == 108);
static_assert(__builtin_offsetof(Fadt, flags) == 112);
static_assert(__builtin_offsetof(Fadt, extended_dsdt) == 140);
static_assert(__builtin_offsetof(Fadt, sleep_control) == 244);

constexpr Text rsdp_signature{"RSD PTR "};

bool has_signature(const Header* table, Text signature) {
    return Text{table->signature, sizeof(table->signature)} == signature;
}

// For loaders that hand over no address: the area that a PC's firmware uses.
const Rsdp* scan_for_rsdp() {
    for (uint64_t address = 0xe0000; address < 0x100000; address += 16) {
        const auto* candidate = at_address<const Rsdp>(address);
        if (Text{candidate->signature, sizeof(candidate->signature)} == rsdp_signature) {
            return candidate;
        }
    }
    return nullptr;
}

}  // namespace

void GenericAddress::write(uint8_t value) const {
    if (space == AddressSpace::io) {
        out<uint8_t>(static_cast<uint16_t>(address), value);
    } else {
        mmio_write<uint8_t>(address, value);
    }
}

const Rsdp* find_rsdp() {
    if (boot_record().rsdp != 0) return at_address<const Rsdp>(boot_record().rsdp);
    return scan_for_rsdp();
}

const Header* find_table(Text signature) {
    const Rsdp* rsdp = find_rsdp();
    if (rsdp == nullptr) return nullptr;
    const bool is_extended = rsdp->revision >= 2 && rsdp->xsdt != 0;
    const uint64_t entry_size = is_extended ? 8 : 4;
    const uint64_t root_address = is_extended ? rsdp->xsdt : rsdp->rsdt;
    const auto& root = *at_address<const Header>(root_address);
    if (has_signature(&root, signature)) return &root;
    for (uint64_t at = sizeof(Header); at + entry_size <= root.length; at += entry_size) {
        const uint64_t address = is_extended ? mmio_read<uint64_t>(root_address + at)
                                             : mmio_read<uint32_t>(root_address + at);
        const auto* table = at_address<const Header>(address);
        if (has_signature(table, signature)) return table;
    }
    return nullptr;
}

const Header* find_dsdt() {
    const auto& fadt = require_table<Fadt>("FACP");
    const bool has_extended = fadt.header.length >= 148 && fadt.extended_dsdt != 0;
    return at_address<const Header>(has_extended ? fadt.extended_dsdt : uint64_t{fadt.dsdt});
}

void report_missing(Text signature) {
    FAIL("no ACPI table ", signature);
}

uint8_t byte_sum(const void* start, uint64_t size) {
    const auto* bytes = static_cast<const uint8_t*>(start);
    uint8_t sum = 0;
    for (uint64_t i = 0; i < size; ++i) sum = static_cast<uint8_t>(sum + bytes[i]);
    return sum;
}

uint8_t soft_off_sleep_type() {
    constexpr uint8_t package_op = 0x12;
    constexpr uint8_t byte_prefix = 0x0a;
    const Header* dsdt = find_dsdt();
    const auto* aml = reinterpret_cast<const char*>(dsdt);
    for (uint32_t at = sizeof(Header); at + 10 < dsdt->length; ++at) {
        if (aml[at + 4] != package_op || Text{aml + at, 4} != Text{"_S5_"}) continue;
        const uint32_t length_bytes = 1 + (static_cast<uint8_t>(aml[at + 5]) >> 6);
        const uint32_t element = at + 5 + length_bytes + 1;
        const auto first = static_cast<uint8_t>(aml[element]);
        return first == byte_prefix ? static_cast<uint8_t>(aml[element + 1]) : first;
    }
    FAIL("the DSDT has no \\_S5 package");
}

}  // namespace probe::acpi
