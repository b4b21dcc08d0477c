/// A 16550A UART at eight byte-wide ports (National Semiconductor PC16550D, chapter 8): what
/// Linux's 8250 driver finds by its autoconfiguration and drives by interrupts.
///
/// What differs from the chip, because no wire is emulated:
///   - The transmitter is empty as soon as the peer took the byte, so the transmit FIFO is never
///     occupied. While the peer asks to wait, THRE and TEMT read 0; bytes that a driver writes all
///     the same still reach the peer.
///   - Input comes in bursts, not at a rate: data below the trigger level is reported as a
///   character
///     time-out (IIR 0x0C) at once. Nothing from the peer overruns the FIFO: receive() says how
///     many bytes fit, and the peer is called when there is room. While the guest loops the port
///     back, input waits.
///   - OUT2 does not gate the interrupt, so that a small guest that never sets it is served too.
///   - Divisor and frame format are stored and have no effect.
/// An access wider than a byte reaches that many consecutive ports, as on an 8-bit bus.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "devices/bus.hpp"
#include "devices/interrupts.hpp"

namespace viaduct::devices {

class Serial final : public BusDevice {
public:
    static constexpr std::uint64_t port_count = 8;
    static constexpr std::size_t fifo_depth = 16;

    /// The other end of the cable. Called on vCPU threads with the port's lock held: an
    /// implementation does not block and does not call back into the port from within.
    class Peer {
    public:
        virtual ~Peer() = default;
        /// Takes the byte, always. False asks the guest to wait until transmit_ready().
        virtual bool transmit(std::byte byte) noexcept = 0;
        /// The receive FIFO has room again after receive() took less than it was given.
        virtual void room_for_input() noexcept = 0;
    };

    struct State {
        std::uint32_t version = 1;
        std::uint8_t divisor_low = 12;  // 9600 baud
        std::uint8_t divisor_high = 0;
        std::uint8_t interrupt_enable = 0;
        std::uint8_t fifo_control = 0;
        std::uint8_t line_control = 0;
        std::uint8_t modem_control = 0;
        std::uint8_t modem_status = 0xb0;  // carrier, data set ready, clear to send
        std::uint8_t scratch = 0;
        bool overrun = false;
        bool transmitter_empty_pending = false;
        std::uint8_t received = 0;  // bytes in the FIFO, the oldest first
        std::array<std::uint8_t, fifo_depth> fifo{};
        std::uint16_t breaks = 0;  // bit n: entry n of the FIFO is a break condition
        friend bool operator==(const State&, const State&) = default;
    };

    /// Both outlive the port.
    Serial(InterruptLine& interrupt, Peer& peer) noexcept : interrupt_(interrupt), peer_(peer) {}

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    /// Input from the peer: how many bytes were taken, from the first on. When that is not all of
    /// them, room_for_input() follows.
    std::size_t receive(std::span<const std::byte> bytes) noexcept;
    /// A break condition on the line (Linux: magic SysRq). False when the FIFO is full.
    bool receive_break() noexcept;
    /// The peer takes bytes again.
    void transmit_ready() noexcept;

    /// As after power-on.
    void reset() noexcept;
    [[nodiscard]] State save() const;
    /// Throws Error when the state is of an unknown version or contradicts itself.
    void load(const State& state);

private:
    struct Register;
    static const std::array<Register, 10> registers;
    [[nodiscard]] const Register* find(std::uint64_t offset) const noexcept;
    std::uint8_t read_port(std::uint64_t offset) noexcept;
    void write_port(std::uint64_t offset, std::uint8_t value) noexcept;

    std::uint8_t read_receive_buffer() noexcept;
    std::uint8_t read_interrupt_ident() noexcept;
    std::uint8_t read_line_status() noexcept;
    std::uint8_t read_modem_status() noexcept;
    void write_transmit_holding(std::uint8_t value) noexcept;
    void write_interrupt_enable(std::uint8_t value) noexcept;
    void write_fifo_control(std::uint8_t value) noexcept;
    void write_modem_control(std::uint8_t value) noexcept;

    [[nodiscard]] bool fifo_enabled() const noexcept;
    [[nodiscard]] bool looped_back() const noexcept;
    [[nodiscard]] std::size_t depth() const noexcept;
    [[nodiscard]] std::size_t trigger_level() const noexcept;
    [[nodiscard]] std::uint8_t pending_interrupt() const noexcept;
    void push(std::uint8_t value, bool is_break) noexcept;
    void loop_back(std::uint8_t value) noexcept;
    void clear_fifo() noexcept;
    void offer_room() noexcept;
    void update_interrupt() noexcept;

    InterruptLine& interrupt_;
    Peer& peer_;
    mutable std::mutex mutex_;  // guards what follows
    State state_;
    bool held_ = false;           // the peer asked the guest to wait
    bool input_refused_ = false;  // receive() took less than it was given
    bool asserted_ = false;
};

}  // namespace viaduct::devices
