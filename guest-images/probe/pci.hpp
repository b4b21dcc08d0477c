// PCI functions on bus 0: configuration space by both mechanisms, base address registers,
// capabilities.
#pragma once

#include <cstdint>

#include "guest-images/probe/cpu.hpp"

namespace probe::pci {

struct Address {
    uint8_t device;
    uint8_t function;
};

// Offsets in the type 0 header (PCI 3.0, 6.1).
namespace header {
inline constexpr uint16_t vendor_id = 0x00;
inline constexpr uint16_t device_id = 0x02;
inline constexpr uint16_t command = 0x04;
inline constexpr uint16_t status = 0x06;
inline constexpr uint16_t revision = 0x08;
inline constexpr uint16_t class_code = 0x09;
inline constexpr uint16_t header_type = 0x0e;
inline constexpr uint16_t bars = 0x10;
inline constexpr uint16_t subsystem_vendor_id = 0x2c;
inline constexpr uint16_t subsystem_id = 0x2e;
inline constexpr uint16_t capabilities = 0x34;
inline constexpr uint16_t interrupt_line = 0x3c;
inline constexpr uint16_t interrupt_pin = 0x3d;
inline constexpr uint16_t end = 0x40;
}  // namespace header

namespace command {
inline constexpr uint16_t io = 0x001;
inline constexpr uint16_t memory = 0x002;
inline constexpr uint16_t bus_master = 0x004;
inline constexpr uint16_t interrupt_disable = 0x400;
}  // namespace command

namespace status {
inline constexpr uint16_t interrupt = 0x08;
inline constexpr uint16_t capabilities = 0x10;
}  // namespace status

namespace capability {
inline constexpr uint8_t vendor = 0x09;
inline constexpr uint8_t msix = 0x11;
}  // namespace capability

// Configuration mechanism #1: ports 0xcf8 and 0xcfc.
namespace ports {
inline constexpr uint16_t address_port = 0xcf8;
inline constexpr uint16_t data_port = 0xcfc;
inline constexpr uint32_t enable = 0x80000000;
void select(Address address, uint16_t offset);
template <typename T>
T read(Address address, uint16_t offset) {
    select(address, offset);
    return in<T>(static_cast<uint16_t>(data_port + (offset & 3)));
}
template <typename T>
void write(Address address, uint16_t offset, std::type_identity_t<T> value) {
    select(address, offset);
    out<T>(static_cast<uint16_t>(data_port + (offset & 3)), value);
}
}  // namespace ports

// The memory-mapped mechanism, at the MCFG table's base.
namespace ecam {
bool is_available();
uint64_t window(Address address, uint16_t offset);
template <typename T>
T read(Address address, uint16_t offset) {
    return mmio_read<T>(window(address, offset));
}
template <typename T>
void write(Address address, uint16_t offset, std::type_identity_t<T> value) {
    mmio_write<T>(window(address, offset), value);
}
}  // namespace ecam

inline constexpr unsigned bar_count = 6;

struct Bar {
    uint64_t address;
    uint64_t size;  // 0: not implemented, or the upper half of a 64-bit one
    bool is_64bit;
    bool is_io;

    bool contains(uint64_t offset, uint64_t length) const {
        return offset <= size && length <= size - offset;
    }
};

class Function {
public:
    explicit Function(Address address) : address_{address} {}

    Address address() const { return address_; }
    template <typename T>
    T read(uint16_t offset) const {
        return ecam::is_available() ? ecam::read<T>(address_, offset)
                                    : ports::read<T>(address_, offset);
    }
    template <typename T>
    void write(uint16_t offset, std::type_identity_t<T> value) const {
        if (ecam::is_available()) {
            ecam::write<T>(address_, offset, value);
        } else {
            ports::write<T>(address_, offset, value);
        }
    }
    bool exists() const { return read<uint16_t>(header::vendor_id) != 0xffff; }

    // Switches bits of the command register on or off.
    void enable(uint16_t command_bits) const;
    void disable(uint16_t command_bits) const;

    uint64_t bar_address(unsigned index) const;
    // Sizes the BAR with decoding off for the moment.
    Bar bar(unsigned index) const;
    void set_bar(unsigned index, uint64_t address) const;
    // Gives every memory BAR an address unless firmware has, and lets the function decode and
    // master.
    void assign_bars() const;

    // The next capability with this id after `after` (0: the first one); 0 when there is none.
    uint16_t find_capability(uint8_t id, uint16_t after = 0) const;

private:
    Address address_;
};

// A range of the 32-bit window that nothing else uses, aligned to its size (a power of two).
uint64_t allocate_window(uint64_t size);

template <typename Visitor>
void visit_functions(Visitor visit) {
    for (uint8_t device = 0; device < 32; ++device) {
        const bool is_multifunction = [&] {
            const Function first{{device, 0}};
            return first.exists() && (first.read<uint8_t>(header::header_type) & 0x80) != 0;
        }();
        const uint8_t functions = is_multifunction ? 8 : 1;
        for (uint8_t function = 0; function < functions; ++function) {
            const Function candidate{{device, function}};
            if (candidate.exists()) visit(candidate);
        }
    }
}

}  // namespace probe::pci
