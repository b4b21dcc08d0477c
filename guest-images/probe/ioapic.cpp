#include "guest-images/probe/ioapic.hpp"

#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/madt.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::ioapic {
namespace {

constexpr uint64_t select = 0x00;
constexpr uint64_t window = 0x10;
constexpr uint32_t redirection_table = 0x10;
constexpr uint32_t entry_masked = 1U << 16;
constexpr uint32_t entry_level = 1U << 15;
constexpr uint32_t entry_active_low = 1U << 13;

void write_entry(uint32_t gsi, uint32_t low, uint32_t high) {
    const madt::IoApic controller = madt::io_apic();
    CHECK(gsi >= controller.gsi_base && gsi < controller.gsi_base + 24, "GSI ", gsi);
    const uint32_t index = redirection_table + 2 * (gsi - controller.gsi_base);
    const auto write = [&controller](uint32_t reg, uint32_t value) {
        mmio_write<uint32_t>(controller.address + select, reg);
        mmio_write<uint32_t>(controller.address + window, value);
    };
    write(index, entry_masked);
    write(index + 1, high);
    write(index, low);
}

}  // namespace

void connect(const Route& route) {
    const uint32_t low = route.vector | (route.is_level ? entry_level : 0) |
                         (route.is_active_low ? entry_active_low : 0);
    write_entry(route.gsi, low, route.apic_id << 24);
}

void mask(uint32_t gsi) {
    write_entry(gsi, entry_masked, 0);
}

void silence_legacy_controllers() {
    constexpr uint16_t first_mask = 0x21;
    constexpr uint16_t second_mask = 0xa1;
    out<uint8_t>(first_mask, 0xff);
    out<uint8_t>(second_mask, 0xff);
}

}  // namespace probe::ioapic
