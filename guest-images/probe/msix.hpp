// A function's MSI-X table and pending bits (PCI 3.0, 6.8.2).
#pragma once

#include <cstdint>

#include "guest-images/probe/pci.hpp"

namespace probe {

class MsixTable {
public:
    // The function's BARs have to be assigned.
    explicit MsixTable(const pci::Function& function);

    uint16_t size() const { return size_; }
    // The switches in Message Control.
    void enable() const;
    void disable() const;
    void mask_function() const;
    void unmask_function() const;

    // The entry delivers `vector` to the CPU; its mask stays as it is.
    void route(uint16_t entry, uint32_t apic_id, uint8_t vector) const;
    void mask(uint16_t entry) const;
    void unmask(uint16_t entry) const;
    bool is_pending(uint16_t entry) const;

    struct Location {
        unsigned bar;
        uint32_t offset;
    };
    Location table() const { return table_; }
    Location pending_bits() const { return pending_; }
    // BARs have moved: look at where they are now.
    void locate();

private:
    uint64_t entry_address(uint16_t entry) const;
    void change_control(uint16_t clear, uint16_t set) const;

    pci::Function function_;
    uint16_t capability_;
    uint16_t size_;
    Location table_{};
    Location pending_{};
    uint64_t table_address_ = 0;
    uint64_t pending_address_ = 0;
};

}  // namespace probe
