/// The configuration space of a type 0 function (PCI 3.0, 6): 256 bytes, or 4 KiB for a function
/// with extended capabilities. Every register is data: a value and a mask of the bits that the
/// guest may write. BAR sizing follows from the masks (6.2.5.1).
///
/// The declaring half is for set-up and throws Error; the accessing half is for the guest and takes
/// any offset and length. No locking of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace viaduct::pci {

struct Identity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint8_t revision = 0;
    std::uint32_t class_code = 0;  // base class, subclass, interface: 24 bits
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem_device = 0;
    std::uint8_t interrupt_pin = 0;  // 1 is INTA, 0 none
};

/// A memory BAR.
struct BarShape {
    std::uint64_t size = 0;  // a power of two, 16 or more
    bool wide = false;       // 64-bit: takes the next BAR's register too
    bool prefetchable = false;
};

class ConfigSpace {
public:
    static constexpr std::size_t conventional_size = 256;
    static constexpr std::size_t extended_size = 4096;
    static constexpr unsigned bar_count = 6;

    /// A register of 1, 2 or 4 bytes; `writable` are the bits that the guest may change.
    struct Register {
        std::uint16_t offset;
        std::uint8_t width;
        std::uint32_t value;
        std::uint32_t writable;
    };

    explicit ConfigSpace(const Identity& identity, std::size_t size = conventional_size);

    void declare(const Register& declared);
    void declare_bar(unsigned index, const BarShape& shape);
    /// Appends a capability: `body` is what follows the id and next bytes, `writable` its mask (all
    /// read-only when shorter). Returns the offset of the capability's id byte.
    std::uint16_t add_capability(std::uint8_t id, std::span<const std::byte> body,
                                 std::span<const std::byte> writable = {});

    void read(std::uint16_t offset, std::span<std::byte> bytes) const noexcept;
    void write(std::uint16_t offset, std::span<const std::byte> bytes) noexcept;
    /// All registers as they were declared.
    void reset() noexcept { values_ = declared_; }

    /// A register's value, for the function itself.
    [[nodiscard]] std::uint32_t value(std::uint16_t offset, std::uint8_t width) const noexcept;
    /// The function's own store, past the write masks.
    void put(std::uint16_t offset, std::span<const std::byte> bytes) noexcept;

    [[nodiscard]] bool memory_enabled() const noexcept;
    [[nodiscard]] bool intx_disabled() const noexcept;
    [[nodiscard]] std::uint64_t bar_address(unsigned index) const noexcept;

private:
    std::vector<std::byte> values_;
    std::vector<std::byte> declared_;
    std::vector<std::byte> writable_;
    std::uint16_t last_next_pointer_ = 0x34;  // where the next capability's offset goes
    std::uint16_t free_ = 0x40;               // behind the header and the capabilities so far
};

}  // namespace viaduct::pci
