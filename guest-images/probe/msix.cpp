#include "guest-images/probe/msix.hpp"

#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/report.hpp"

namespace probe {
namespace {

constexpr uint16_t message_control = 2;
constexpr uint16_t control_enable = 0x8000;
constexpr uint16_t control_function_mask = 0x4000;
constexpr uint16_t control_size_mask = 0x07ff;

constexpr uint64_t entry_size = 16;
constexpr uint64_t entry_address_low = 0;
constexpr uint64_t entry_address_high = 4;
constexpr uint64_t entry_message = 8;
constexpr uint64_t entry_vector_control = 12;
constexpr uint32_t vector_masked = 1;

MsixTable::Location read_location(const pci::Function& function, uint16_t offset) {
    const auto value = function.read<uint32_t>(offset);
    return {value & 7, value & ~7U};
}

}  // namespace

MsixTable::MsixTable(const pci::Function& function)
    : function_{function}, capability_{function.find_capability(pci::capability::msix)} {
    CHECK(capability_ != 0, "the function has no MSI-X capability");
    const auto control = static_cast<uint16_t>(capability_ + message_control);
    size_ = static_cast<uint16_t>((function.read<uint16_t>(control) & control_size_mask) + 1);
    table_ = read_location(function, static_cast<uint16_t>(capability_ + 4));
    pending_ = read_location(function, static_cast<uint16_t>(capability_ + 8));
    CHECK(table_.bar < pci::bar_count && pending_.bar < pci::bar_count, table_.bar, pending_.bar);
    locate();
}

void MsixTable::locate() {
    table_address_ = function_.bar_address(table_.bar) + table_.offset;
    pending_address_ = function_.bar_address(pending_.bar) + pending_.offset;
}

void MsixTable::change_control(uint16_t clear, uint16_t set) const {
    const auto offset = static_cast<uint16_t>(capability_ + message_control);
    const auto value = function_.read<uint16_t>(offset);
    function_.write<uint16_t>(offset, static_cast<uint16_t>((value & ~clear) | set));
}

void MsixTable::enable() const {
    change_control(0, control_enable);
}
void MsixTable::disable() const {
    change_control(control_enable | control_function_mask, 0);
}
void MsixTable::mask_function() const {
    change_control(0, control_function_mask);
}
void MsixTable::unmask_function() const {
    change_control(control_function_mask, 0);
}

uint64_t MsixTable::entry_address(uint16_t entry) const {
    CHECK(entry < size_, entry, size_);
    return table_address_ + entry * entry_size;
}

void MsixTable::route(uint16_t entry, uint32_t apic_id, uint8_t vector) const {
    const uint64_t base = entry_address(entry);
    const uint64_t address = lapic::msi_address(apic_id);
    mmio_write<uint32_t>(base + entry_address_low, static_cast<uint32_t>(address));
    mmio_write<uint32_t>(base + entry_address_high, static_cast<uint32_t>(address >> 32));
    mmio_write<uint32_t>(base + entry_message, vector);
}

void MsixTable::mask(uint16_t entry) const {
    mmio_write<uint32_t>(entry_address(entry) + entry_vector_control, vector_masked);
}

void MsixTable::unmask(uint16_t entry) const {
    mmio_write<uint32_t>(entry_address(entry) + entry_vector_control, 0);
}

bool MsixTable::is_pending(uint16_t entry) const {
    const auto word = mmio_read<uint32_t>(pending_address_ + entry / 32 * uint64_t{4});
    return (word >> (entry % 32) & 1) != 0;
}

}  // namespace probe
