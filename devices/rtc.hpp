/// A real-time clock with 128 bytes of CMOS memory (Motorola MC146818A) at two ports: the index
/// (offset 0) and the byte it selects (offset 1).
///
/// The guest's time is the host's UTC plus the whole seconds by which the guest set it otherwise;
/// it never stands still, save while the guest holds it with register B's SET. The century is
/// register 0x32, as the FADT tells. Register B chooses BCD or binary and 12 or 24 hours.
///
/// UIP reads 1 in the last 244 µs of each second and never longer. The flags of register C are
/// worked out from the clock when somebody looks, so a guest that polls needs no timer; a timer is
/// asked for only while an enabled interrupt is still to come, so a guest that never acknowledges
/// its interrupt gets no further ones.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>

#include "devices/bus.hpp"
#include "devices/interrupts.hpp"

namespace viaduct::devices {

class Rtc final : public BusDevice {
public:
    static constexpr std::uint64_t port_count = 2;
    static constexpr std::size_t cell_count = 128;
    static constexpr std::uint8_t century_register = 0x32;

    using Time = std::chrono::sys_time<std::chrono::nanoseconds>;
    /// The host's time.
    using Clock = std::function<Time()>;
    /// Asks for on_timer() after `delay`; the newest request replaces the one before. Called on any
    /// thread with the clock's lock held, so it does not call back from within.
    using Wake = std::function<void(std::chrono::nanoseconds delay)>;

    struct State {
        std::uint32_t version = 1;
        std::uint8_t index = 0;
        std::array<std::uint8_t, cell_count> cells{};
        std::int64_t offset_seconds = 0;    // the guest's time less the host's
        std::int64_t seen_nanoseconds = 0;  // host time up to which register C tells
        friend bool operator==(const State&, const State&) = default;
    };

    /// `interrupt` is ISA interrupt 8. Without `wake`, interrupts arise only when the guest looks.
    explicit Rtc(InterruptLine& interrupt, Clock clock = std::chrono::system_clock::now,
                 Wake wake = nullptr);

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    /// The time asked for through Wake has come.
    void on_timer() noexcept;

    /// Memory and time stay, as on battery; interrupts are off.
    void reset() noexcept;
    [[nodiscard]] State save() const;
    /// Throws Error when the state is of an unknown version.
    void load(const State& state);

private:
    struct Register;
    static const std::array<Register, 12> registers;
    [[nodiscard]] const Register* find() const noexcept;

    std::uint8_t read_time() noexcept;
    std::uint8_t read_a() noexcept;
    std::uint8_t read_c() noexcept;
    void write_time(std::uint8_t value) noexcept;
    void write_a(std::uint8_t value) noexcept;
    void write_b(std::uint8_t value) noexcept;
    [[nodiscard]] std::uint8_t read_selected() noexcept;
    void write_selected(std::uint8_t value) noexcept;

    [[nodiscard]] std::uint8_t cell(std::uint8_t index) const noexcept;
    [[nodiscard]] bool enabled(std::uint8_t control) const noexcept;
    [[nodiscard]] std::uint8_t encode(unsigned value) const noexcept;
    [[nodiscard]] unsigned decode(std::uint8_t value) const noexcept;
    [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const noexcept;
    [[nodiscard]] unsigned decode_hour(std::uint8_t value) const noexcept;

    [[nodiscard]] std::chrono::sys_seconds guest_time() const noexcept;
    void show_time() noexcept;
    void adopt_time() noexcept;
    [[nodiscard]] std::optional<std::chrono::seconds> until_alarm(
        std::chrono::sys_seconds from) const noexcept;
    [[nodiscard]] unsigned period_shift() const noexcept;
    [[nodiscard]] std::uint64_t periods(Time time) const noexcept;

    void catch_up() noexcept;
    void update_interrupt() noexcept;
    void ask_to_be_woken() noexcept;

    InterruptLine& interrupt_;
    Clock clock_;
    Wake wake_;
    mutable std::mutex mutex_;  // guards what follows
    State state_;
    Time now_;                       // the host's, once per access
    std::optional<Time> asked_for_;  // when on_timer() is to come
    bool asserted_ = false;
};

}  // namespace viaduct::devices
