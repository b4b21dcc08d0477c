/// The ACPI fixed hardware (ACPI 6.4, 4.8.3): PM1a event block and PM1a control block in one range
/// of ports; the FADT names each at its offset here. Always in ACPI mode: SCI_EN reads 1 and the
/// FADT's SMI_CMD is 0. There is no PM timer: guests have better clocks.
///
///   offset 0  PM1_STS   16 bits, a 1 written clears; PWRBTN_STS is set by press_power_button()
///   offset 2  PM1_EN    16 bits
///   offset 4  PM1_CNT   16 bits; SLP_EN with SLP_TYP = s5_sleep_type powers off
///
/// The SCI is a level: high while a bit is set in both PM1_STS and PM1_EN. Any width is decoded
/// byte by byte; a byte outside the registers reads 0 and is not written.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "devices/bus.hpp"
#include "devices/interrupts.hpp"

namespace viaduct::devices {

class Power final : public BusDevice {
public:
    static constexpr std::uint64_t event_offset = 0;
    static constexpr std::uint64_t control_offset = 4;
    static constexpr std::uint64_t port_count = 6;
    /// SLP_TYP for S5: what the DSDT's \_S5 package holds.
    static constexpr std::uint8_t s5_sleep_type = 5;

    struct State {
        std::uint32_t version = 1;
        std::uint16_t status = 0;
        std::uint16_t enable = 0;
        std::uint16_t control = 0x0001;  // SCI_EN
        friend bool operator==(const State&, const State&) = default;
    };

    /// `on_power_off` runs on the vCPU's thread: it asks somebody else to end the machine.
    Power(InterruptLine& sci, std::function<void()> on_power_off);

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    /// What an operator's power-down request does: asks the guest to shut itself down.
    void press_power_button() noexcept;

    void reset() noexcept;
    [[nodiscard]] State save() const;
    /// Throws Error when the state is of an unknown version.
    void load(const State& state);

private:
    struct Register;
    static const std::array<Register, 3> registers;

    [[nodiscard]] std::uint8_t read_byte(std::uint64_t offset) const noexcept;
    /// True when the byte asks for power-off.
    bool write_byte(std::uint64_t offset, std::uint8_t value) noexcept;
    void update_sci() noexcept;

    InterruptLine& sci_;
    std::function<void()> on_power_off_;
    mutable std::mutex mutex_;  // guards what follows
    State state_;
    bool asserted_ = false;
};

}  // namespace viaduct::devices
