#include "devices/serial.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

namespace interrupt_enable {
constexpr std::uint8_t received = 0x01;
constexpr std::uint8_t transmitter_empty = 0x02;
constexpr std::uint8_t line_status = 0x04;
constexpr std::uint8_t modem_status = 0x08;
constexpr std::uint8_t mask = 0x0f;
}  // namespace interrupt_enable

// Highest priority first.
namespace interrupt_ident {
constexpr std::uint8_t line_status = 0x06;
constexpr std::uint8_t received = 0x04;
constexpr std::uint8_t character_timeout = 0x0c;
constexpr std::uint8_t transmitter_empty = 0x02;
constexpr std::uint8_t modem_status = 0x00;
constexpr std::uint8_t none = 0x01;
constexpr std::uint8_t fifos_enabled = 0xc0;
}  // namespace interrupt_ident

namespace fifo_control {
constexpr std::uint8_t enable = 0x01;
constexpr std::uint8_t clear_receive = 0x02;
constexpr std::uint8_t trigger = 0xc0;
}  // namespace fifo_control

namespace line_control {
constexpr std::uint8_t divisor_latch = 0x80;
}  // namespace line_control

namespace modem_control {
constexpr std::uint8_t data_terminal_ready = 0x01;
constexpr std::uint8_t request_to_send = 0x02;
constexpr std::uint8_t out1 = 0x04;
constexpr std::uint8_t out2 = 0x08;
constexpr std::uint8_t loop_back = 0x10;
constexpr std::uint8_t mask = 0x1f;
}  // namespace modem_control

namespace line_status {
constexpr std::uint8_t ready = 0x01;
constexpr std::uint8_t overrun = 0x02;
constexpr std::uint8_t break_condition = 0x10;
constexpr std::uint8_t holding_empty = 0x20;
constexpr std::uint8_t transmitter_empty = 0x40;
constexpr std::uint8_t fifo_error = 0x80;
}  // namespace line_status

namespace modem_status {
constexpr std::uint8_t clear_to_send = 0x10;
constexpr std::uint8_t data_set_ready = 0x20;
constexpr std::uint8_t ring = 0x40;
constexpr std::uint8_t carrier = 0x80;
constexpr std::uint8_t lines = 0xf0;
constexpr std::uint8_t deltas = 0x0f;
constexpr std::uint8_t connected = carrier | data_set_ready | clear_to_send;
}  // namespace modem_status

constexpr std::array<std::size_t, 4> trigger_levels{1, 4, 8, 14};

/// The modem inputs that the chip sees when its outputs are looped back to them.
std::uint8_t looped_lines(std::uint8_t outputs) {
    constexpr std::array<std::pair<std::uint8_t, std::uint8_t>, 4> wires{{
        {modem_control::request_to_send, modem_status::clear_to_send},
        {modem_control::data_terminal_ready, modem_status::data_set_ready},
        {modem_control::out1, modem_status::ring},
        {modem_control::out2, modem_status::carrier},
    }};
    std::uint8_t inputs = 0;
    for (const auto& [output, input] : wires) {
        if ((outputs & output) != 0) inputs |= input;
    }
    return inputs;
}

}  // namespace

struct Serial::Register {
    enum class Latch : std::uint8_t { any, open, closed };  // DLAB: do not care, 0, 1

    std::uint8_t offset;
    Latch latch;
    std::uint8_t State::*stored;                   // null: nothing is
    std::uint8_t (Serial::*read)() noexcept;       // null: gives what is stored
    void (Serial::*write)(std::uint8_t) noexcept;  // null: stores; without a place, ignored
};

const std::array<Serial::Register, 10> Serial::registers{{
    {0, Register::Latch::open, nullptr, &Serial::read_receive_buffer,
     &Serial::write_transmit_holding},
    {0, Register::Latch::closed, &State::divisor_low, nullptr, nullptr},
    {1, Register::Latch::open, &State::interrupt_enable, nullptr, &Serial::write_interrupt_enable},
    {1, Register::Latch::closed, &State::divisor_high, nullptr, nullptr},
    {2, Register::Latch::any, nullptr, &Serial::read_interrupt_ident, &Serial::write_fifo_control},
    {3, Register::Latch::any, &State::line_control, nullptr, nullptr},
    {4, Register::Latch::any, &State::modem_control, nullptr, &Serial::write_modem_control},
    {5, Register::Latch::any, nullptr, &Serial::read_line_status, nullptr},
    {6, Register::Latch::any, nullptr, &Serial::read_modem_status, nullptr},
    {7, Register::Latch::any, &State::scratch, nullptr, nullptr},
}};

const Serial::Register* Serial::find(std::uint64_t offset) const noexcept {
    const auto latch = (state_.line_control & line_control::divisor_latch) != 0
                           ? Register::Latch::closed
                           : Register::Latch::open;
    const auto* const found =
        std::find_if(registers.begin(), registers.end(), [&](const auto& row) {
            return row.offset == offset &&
                   (row.latch == Register::Latch::any || row.latch == latch);
        });
    return found == registers.end() ? nullptr : found;
}

std::uint8_t Serial::read_port(std::uint64_t offset) noexcept {
    const Register* const row = find(offset);
    if (row == nullptr) return 0xff;
    return row->read != nullptr ? (this->*row->read)() : state_.*row->stored;
}

void Serial::write_port(std::uint64_t offset, std::uint8_t value) noexcept {
    const Register* const row = find(offset);
    if (row == nullptr) return;
    if (row->write != nullptr) {
        (this->*row->write)(value);
    } else if (row->stored != nullptr) {
        state_.*row->stored = value;
    }
}

void Serial::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (std::byte& byte : bytes) byte = std::byte{read_port(offset++)};
}

void Serial::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (const std::byte byte : bytes) {
        write_port(offset++, std::to_integer<std::uint8_t>(byte));
    }
}

std::size_t Serial::receive(std::span<const std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    std::size_t taken = 0;
    while (taken < bytes.size() && !looped_back() && state_.received < depth()) {
        push(std::to_integer<std::uint8_t>(bytes[taken++]), false);
    }
    if (taken < bytes.size()) input_refused_ = true;
    update_interrupt();
    return taken;
}

bool Serial::receive_break() noexcept {
    const std::lock_guard lock(mutex_);
    if (looped_back() || state_.received >= depth()) return false;
    push(0, true);
    update_interrupt();
    return true;
}

void Serial::transmit_ready() noexcept {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(held_, false)) return;
    state_.transmitter_empty_pending = true;
    update_interrupt();
}

void Serial::reset() noexcept {
    const std::lock_guard lock(mutex_);
    state_ = State{};
    offer_room();
    update_interrupt();
}

Serial::State Serial::save() const {
    const std::lock_guard lock(mutex_);
    State state = state_;
    // Whoever takes over starts with a peer that takes bytes: the guest that waits is told so.
    if (held_) state.transmitter_empty_pending = true;
    return state;
}

void Serial::load(const State& state) {
    if (state.version != State{}.version) {
        throw Error("serial port: state of version {} found, {} needed: save it with this release",
                    state.version, State{}.version);
    }
    if (state.received > fifo_depth) {
        throw Error("serial port: the state has {} bytes in a FIFO of {}: it is damaged",
                    state.received, fifo_depth);
    }
    const std::lock_guard lock(mutex_);
    state_ = state;
    held_ = false;
    update_interrupt();
}

std::uint8_t Serial::read_receive_buffer() noexcept {
    if (state_.received == 0) return 0;
    const std::uint8_t value = state_.fifo.front();
    std::shift_left(state_.fifo.begin(), state_.fifo.end(), 1);
    state_.breaks = static_cast<std::uint16_t>(state_.breaks >> 1U);
    if (--state_.received == 0) offer_room();
    update_interrupt();
    return value;
}

void Serial::write_transmit_holding(std::uint8_t value) noexcept {
    if (looped_back()) {
        loop_back(value);
    } else {
        held_ = !peer_.transmit(std::byte{value});
    }
    state_.transmitter_empty_pending = !held_;
    update_interrupt();
}

void Serial::write_interrupt_enable(std::uint8_t value) noexcept {
    const std::uint8_t before =
        std::exchange(state_.interrupt_enable, value & interrupt_enable::mask);
    const bool newly =
        (~before & state_.interrupt_enable & interrupt_enable::transmitter_empty) != 0;
    // Enabling it while the transmitter is empty interrupts at once; drivers start output that way.
    if (newly && !held_) state_.transmitter_empty_pending = true;
    update_interrupt();
}

std::uint8_t Serial::read_interrupt_ident() noexcept {
    const std::uint8_t source = pending_interrupt();
    if (source == interrupt_ident::transmitter_empty) {
        state_.transmitter_empty_pending = false;
        update_interrupt();
    }
    return fifo_enabled() ? source | interrupt_ident::fifos_enabled : source;
}

void Serial::write_fifo_control(std::uint8_t value) noexcept {
    const bool was_enabled = fifo_enabled();
    const bool enable = (value & fifo_control::enable) != 0;
    // The other bits are programmed only while the FIFOs are being enabled.
    state_.fifo_control = enable ? value & (fifo_control::enable | fifo_control::trigger) : 0;
    if (enable != was_enabled || (enable && (value & fifo_control::clear_receive) != 0))
        clear_fifo();
    update_interrupt();
}

void Serial::write_modem_control(std::uint8_t value) noexcept {
    state_.modem_control = value & modem_control::mask;
    const std::uint8_t before = state_.modem_status & modem_status::lines;
    const std::uint8_t now =
        looped_back() ? looped_lines(state_.modem_control) : modem_status::connected;
    // The ring indicator's delta tells of its trailing edge only.
    const auto changed = static_cast<std::uint8_t>((before ^ now) & ~(now & modem_status::ring));
    const auto deltas = static_cast<std::uint8_t>(changed >> 4U);
    state_.modem_status =
        static_cast<std::uint8_t>(now | deltas | (state_.modem_status & modem_status::deltas));
    if (!looped_back() && state_.received < depth()) offer_room();
    update_interrupt();
}

std::uint8_t Serial::read_line_status() noexcept {
    std::uint8_t value = 0;
    if (!held_) value |= line_status::holding_empty | line_status::transmitter_empty;
    if (state_.received != 0) value |= line_status::ready;
    if ((state_.breaks & 1U) != 0) value |= line_status::break_condition;
    if (fifo_enabled() && state_.breaks != 0) value |= line_status::fifo_error;
    if (std::exchange(state_.overrun, false)) value |= line_status::overrun;
    state_.breaks &= static_cast<std::uint16_t>(~1U);
    update_interrupt();
    return value;
}

std::uint8_t Serial::read_modem_status() noexcept {
    const std::uint8_t value = state_.modem_status;
    state_.modem_status &= modem_status::lines;
    update_interrupt();
    return value;
}

bool Serial::fifo_enabled() const noexcept {
    return (state_.fifo_control & fifo_control::enable) != 0;
}

bool Serial::looped_back() const noexcept {
    return (state_.modem_control & modem_control::loop_back) != 0;
}

std::size_t Serial::depth() const noexcept {
    return fifo_enabled() ? fifo_depth : 1;
}

std::size_t Serial::trigger_level() const noexcept {
    return trigger_levels.at(static_cast<std::size_t>(state_.fifo_control >> 6U));
}

std::uint8_t Serial::pending_interrupt() const noexcept {
    const std::uint8_t enabled = state_.interrupt_enable;
    if ((enabled & interrupt_enable::line_status) != 0 &&
        (state_.overrun || (state_.breaks & 1U) != 0)) {
        return interrupt_ident::line_status;
    }
    if ((enabled & interrupt_enable::received) != 0 && state_.received != 0) {
        return state_.received >= trigger_level() ? interrupt_ident::received
                                                  : interrupt_ident::character_timeout;
    }
    if ((enabled & interrupt_enable::transmitter_empty) != 0 && state_.transmitter_empty_pending) {
        return interrupt_ident::transmitter_empty;
    }
    if ((enabled & interrupt_enable::modem_status) != 0 &&
        (state_.modem_status & modem_status::deltas) != 0) {
        return interrupt_ident::modem_status;
    }
    return interrupt_ident::none;
}

void Serial::push(std::uint8_t value, bool is_break) noexcept {
    state_.fifo.at(state_.received) = value;
    if (is_break) state_.breaks |= static_cast<std::uint16_t>(1U << state_.received);
    ++state_.received;
}

/// What overruns is lost as in the chip: the newest with FIFOs, the older without.
void Serial::loop_back(std::uint8_t value) noexcept {
    if (state_.received < depth()) {
        push(value, false);
        return;
    }
    state_.overrun = true;
    if (!fifo_enabled()) state_.fifo.front() = value;
}

void Serial::clear_fifo() noexcept {
    state_.received = 0;
    state_.breaks = 0;
    offer_room();
}

void Serial::offer_room() noexcept {
    if (std::exchange(input_refused_, false)) peer_.room_for_input();
}

void Serial::update_interrupt() noexcept {
    const bool wanted = pending_interrupt() != interrupt_ident::none;
    if (wanted != std::exchange(asserted_, wanted)) interrupt_.set(wanted);
}

}  // namespace viaduct::devices
