/// A PCI function as the bus sees it: configuration space and reset. What else it has (BARs, MSI-X)
/// it puts on the buses itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace viaduct::pci {

/// Bus (8 bits), device (5 bits) and function (3 bits) number of a function: its requester id.
struct Bdf {
    std::uint16_t value = 0;

    static constexpr Bdf of_slot(unsigned slot) noexcept {
        return {static_cast<std::uint16_t>((slot & 0x1f) << 3)};
    }
    [[nodiscard]] constexpr unsigned bus() const noexcept { return value >> 8U; }
    [[nodiscard]] constexpr unsigned slot() const noexcept { return (value >> 3U) & 0x1fU; }
    [[nodiscard]] constexpr unsigned function() const noexcept { return value & 7U; }
    friend bool operator==(Bdf, Bdf) = default;
};

class Function {
public:
    Function() = default;
    Function(const Function&) = delete;
    Function& operator=(const Function&) = delete;
    virtual ~Function() = default;

    // Any offset and length, from any vCPU thread: bytes past the end of the function's
    // configuration space read all ones and are not written.
    virtual void read_config(std::uint16_t offset, std::span<std::byte> bytes) noexcept = 0;
    virtual void write_config(std::uint16_t offset, std::span<const std::byte> bytes) noexcept = 0;

    /// The bus's RST#: everything back to its state at power-on. No vCPU may be inside an access.
    virtual void reset() noexcept = 0;
};

}  // namespace viaduct::pci
