#include "devices/power.hpp"

#include <utility>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

namespace event {
constexpr std::uint16_t timer = 1U << 0U;
constexpr std::uint16_t bus_master = 1U << 4U;
constexpr std::uint16_t global = 1U << 5U;
constexpr std::uint16_t power_button = 1U << 8U;
constexpr std::uint16_t sleep_button = 1U << 9U;
constexpr std::uint16_t clock_alarm = 1U << 10U;
constexpr std::uint16_t wake = 1U << 15U;
constexpr std::uint16_t status_bits =
    timer | bus_master | global | power_button | sleep_button | clock_alarm | wake;
constexpr std::uint16_t enable_bits = timer | global | power_button | sleep_button | clock_alarm;
}  // namespace event

namespace control {
constexpr std::uint16_t bus_master_reload = 1U << 1U;
constexpr std::uint16_t sleep_type = 7U << 10U;
constexpr std::uint16_t sleep_enable = 1U << 13U;  // write-only
constexpr unsigned sleep_type_shift = 10;
}  // namespace control

}  // namespace

struct Power::Register {
    std::uint64_t offset;
    std::uint16_t writable;
    std::uint16_t clearable;  // by writing a 1
    std::uint16_t State::*value;
};

const std::array<Power::Register, 3> Power::registers{{
    {event_offset, 0, event::status_bits, &State::status},
    {event_offset + 2, event::enable_bits, 0, &State::enable},
    {control_offset, control::bus_master_reload | control::sleep_type, 0, &State::control},
}};

Power::Power(InterruptLine& sci, std::function<void()> on_power_off)
    : sci_(sci), on_power_off_(std::move(on_power_off)) {}

void Power::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (std::byte& byte : bytes) byte = std::byte{read_byte(offset++)};
}

void Power::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    bool power_off = false;
    {
        const std::lock_guard lock(mutex_);
        for (const std::byte byte : bytes) {
            power_off |= write_byte(offset++, std::to_integer<std::uint8_t>(byte));
        }
        update_sci();
    }
    if (power_off) on_power_off_();
}

void Power::press_power_button() noexcept {
    const std::lock_guard lock(mutex_);
    state_.status |= event::power_button;
    update_sci();
}

void Power::reset() noexcept {
    const std::lock_guard lock(mutex_);
    state_ = State{};
    update_sci();
}

Power::State Power::save() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

void Power::load(const State& state) {
    if (state.version != State{}.version) {
        throw Error(
            "ACPI registers: state of version {} found, {} needed: save it with this release",
            state.version, State{}.version);
    }
    const std::lock_guard lock(mutex_);
    state_ = state;
    update_sci();
}

std::uint8_t Power::read_byte(std::uint64_t offset) const noexcept {
    for (const Register& row : registers) {
        const std::uint64_t lane = offset - row.offset;
        if (lane < sizeof(std::uint16_t)) {
            return static_cast<std::uint8_t>(state_.*row.value >> (8 * lane));
        }
    }
    return 0;
}

bool Power::write_byte(std::uint64_t offset, std::uint8_t value) noexcept {
    for (const Register& row : registers) {
        const std::uint64_t lane = offset - row.offset;
        if (lane >= sizeof(std::uint16_t)) continue;
        const auto written = static_cast<std::uint16_t>(value << (8 * lane));
        const auto writable = static_cast<std::uint16_t>(row.writable & 0xffU << (8 * lane));
        std::uint16_t& target = state_.*row.value;
        target = static_cast<std::uint16_t>((target & ~writable) | (written & writable));
        target = static_cast<std::uint16_t>(target & ~(written & row.clearable));
        const bool sleeps = row.offset == control_offset && (written & control::sleep_enable) != 0;
        const auto type = (written & control::sleep_type) >> control::sleep_type_shift;
        return sleeps && type == s5_sleep_type;
    }
    return false;
}

void Power::update_sci() noexcept {
    const bool wanted = (state_.status & state_.enable & event::enable_bits) != 0;
    if (wanted != std::exchange(asserted_, wanted)) sci_.set(wanted);
}

}  // namespace viaduct::devices
