#include "devices/reset_control.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

constexpr std::uint8_t system_reset = 0x02;
constexpr std::uint8_t reset_cpu = 0x04;

constexpr std::uint8_t pulse_command = 0xf0;
constexpr std::uint8_t reset_line_not_pulsed = 0x01;

}  // namespace

void ResetRegister::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    if (offset == 0 && !bytes.empty()) bytes.front() = std::byte{value_.load()};
}

void ResetRegister::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    if (offset != 0 || bytes.empty()) return;
    const auto value = std::to_integer<std::uint8_t>(bytes.front());
    if ((value & reset_cpu) != 0) {
        on_reset_();
    } else {
        value_ = value & system_reset;
    }
}

ResetRegister::State ResetRegister::save() const {
    return {State{}.version, value_.load()};
}

void ResetRegister::load(const State& state) {
    if (state.version != State{}.version) {
        throw Error(
            "reset control: state of version {} found, {} needed: save it with this release",
            state.version, State{}.version);
    }
    value_ = state.value & system_reset;
}

void KeyboardReset::read(std::uint64_t /*offset*/, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
}

void KeyboardReset::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    if (offset != 0 || bytes.empty()) return;
    const auto command = std::to_integer<std::uint8_t>(bytes.front());
    if ((command & (pulse_command | reset_line_not_pulsed)) == pulse_command) on_reset_();
}

}  // namespace viaduct::devices
