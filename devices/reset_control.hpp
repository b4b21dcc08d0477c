/// The two ways in which a PC's software resets the machine, when ACPI's is not used (and ACPI's
/// points to the first): the chipset's reset control register and the keyboard controller's pulse.
///
/// The callbacks run on the vCPU's thread: they ask somebody else to reset the machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "devices/bus.hpp"

namespace viaduct::devices {

/// Port 0xcf9 (Intel PIIX4 and ICH, RST_CNT): a write with bit 2 resets, whether bit 1 asks for a
/// hard reset or not; without bit 2, bit 1 is stored. The port lies inside the PCI address register
/// at 0xcf8, which decodes only 4-byte accesses at its start: its device passes on a byte at 0xcf9.
class ResetRegister final : public BusDevice {
public:
    static constexpr std::uint64_t port = 0xcf9;
    /// What ACPI's FADT names as RESET_VALUE.
    static constexpr std::uint8_t reset_value = 0x06;

    explicit ResetRegister(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    struct State {
        std::uint32_t version = 1;
        std::uint8_t value = 0;
        friend bool operator==(const State&, const State&) = default;
    };
    void reset() noexcept { value_ = 0; }
    [[nodiscard]] State save() const;
    /// Throws Error when the state is of an unknown version.
    void load(const State& state);

private:
    std::function<void()> on_reset_;
    std::atomic<std::uint8_t> value_{0};
};

/// Port 0x64 of an i8042 that has no keyboard: the commands 0xf0 to 0xff pulse output lines, and
/// line 0 (a zero in bit 0, so 0xfe) is the CPU's reset. The status reads 0: ready for a command,
/// no byte to fetch, so that neither a driver that drains the controller nor one that waits to send
/// the pulse hangs. Linux does not probe for it when the FADT's IAPC_BOOT_ARCH lacks the 8042 bit;
/// one that does all the same gives up after 0.5 s without an answer to its first command.
class KeyboardReset final : public BusDevice {
public:
    static constexpr std::uint64_t port = 0x64;

    explicit KeyboardReset(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

private:
    std::function<void()> on_reset_;
};

}  // namespace viaduct::devices
