#include "devices/rtc.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

namespace cell_index {
constexpr std::uint8_t second = 0x00;
constexpr std::uint8_t second_alarm = 0x01;
constexpr std::uint8_t minute = 0x02;
constexpr std::uint8_t minute_alarm = 0x03;
constexpr std::uint8_t hour = 0x04;
constexpr std::uint8_t hour_alarm = 0x05;
constexpr std::uint8_t weekday = 0x06;
constexpr std::uint8_t day = 0x07;
constexpr std::uint8_t month = 0x08;
constexpr std::uint8_t year = 0x09;
constexpr std::uint8_t a = 0x0a;
constexpr std::uint8_t b = 0x0b;
constexpr std::uint8_t c = 0x0c;
constexpr std::uint8_t d = 0x0d;
}  // namespace cell_index

namespace control {  // register B
constexpr std::uint8_t set = 0x80;
constexpr std::uint8_t periodic = 0x40;
constexpr std::uint8_t alarm = 0x20;
constexpr std::uint8_t update = 0x10;
constexpr std::uint8_t interrupts = periodic | alarm | update;  // the same bits in register C
constexpr std::uint8_t binary = 0x04;
constexpr std::uint8_t hours_24 = 0x02;
}  // namespace control

constexpr std::uint8_t update_in_progress = 0x80;  // register A
constexpr std::uint8_t divider_reset = 0x60;       // register A: both bits hold the divider
constexpr std::uint8_t rate_mask = 0x0f;           // register A
constexpr std::uint8_t divider_32768_hz = 0x20;
constexpr std::uint8_t rate_1024_hz = 0x06;
constexpr std::uint8_t interrupt_request = 0x80;  // register C
constexpr std::uint8_t memory_valid = 0x80;       // register D
constexpr std::uint8_t any = 0xc0;                // an alarm register with both bits matches all
constexpr std::uint8_t afternoon = 0x80;
constexpr std::uint8_t index_mask = 0x7f;  // bit 7 of the index port masks NMI on a PC

constexpr nanoseconds update_time = std::chrono::microseconds(244);
constexpr std::uint64_t crystal_hz = 32'768;
constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;

std::uint64_t crystal_ticks(Rtc::Time time) {
    const auto since = static_cast<std::uint64_t>(time.time_since_epoch().count());
    const std::uint64_t rest = since % nanoseconds_per_second;
    return since / nanoseconds_per_second * crystal_hz + rest * crystal_hz / nanoseconds_per_second;
}

/// The first moment at which crystal_ticks() gives `ticks`.
Rtc::Time crystal_time(std::uint64_t ticks) {
    const std::uint64_t rest = ticks % crystal_hz * nanoseconds_per_second;
    const std::uint64_t since =
        ticks / crystal_hz * nanoseconds_per_second + (rest + crystal_hz - 1) / crystal_hz;
    return Rtc::Time(nanoseconds(static_cast<std::int64_t>(since)));
}

}  // namespace

/// Cells without a row are plain memory.
struct Rtc::Register {
    std::uint8_t index;
    std::uint8_t (Rtc::*read)() noexcept;       // null: gives what is stored
    void (Rtc::*write)(std::uint8_t) noexcept;  // null: read-only
};

const std::array<Rtc::Register, 12> Rtc::registers{{
    {cell_index::second, &Rtc::read_time, &Rtc::write_time},
    {cell_index::minute, &Rtc::read_time, &Rtc::write_time},
    {cell_index::hour, &Rtc::read_time, &Rtc::write_time},
    {cell_index::weekday, &Rtc::read_time, &Rtc::write_time},
    {cell_index::day, &Rtc::read_time, &Rtc::write_time},
    {cell_index::month, &Rtc::read_time, &Rtc::write_time},
    {cell_index::year, &Rtc::read_time, &Rtc::write_time},
    {century_register, &Rtc::read_time, &Rtc::write_time},
    {cell_index::a, &Rtc::read_a, &Rtc::write_a},
    {cell_index::b, nullptr, &Rtc::write_b},
    {cell_index::c, &Rtc::read_c, nullptr},
    {cell_index::d, nullptr, nullptr},
}};

Rtc::Rtc(InterruptLine& interrupt, Clock clock, Wake wake)
    : interrupt_(interrupt), clock_(std::move(clock)), wake_(std::move(wake)), now_(clock_()) {
    state_.cells.at(cell_index::a) = divider_32768_hz | rate_1024_hz;
    state_.cells.at(cell_index::b) = control::hours_24;
    state_.cells.at(cell_index::d) = memory_valid;
    state_.seen_nanoseconds = now_.time_since_epoch().count();
}

void Rtc::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (std::byte& byte : bytes) {
        // The index port is write-only.
        byte = offset++ == 1 ? std::byte{read_selected()} : std::byte{0xff};
    }
}

void Rtc::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (const std::byte byte : bytes) {
        const auto value = std::to_integer<std::uint8_t>(byte);
        if (offset == 0) state_.index = value & index_mask;
        if (offset == 1) write_selected(value);
        ++offset;
    }
}

void Rtc::on_timer() noexcept {
    const std::lock_guard lock(mutex_);
    asked_for_.reset();
    catch_up();
    update_interrupt();
}

void Rtc::reset() noexcept {
    const std::lock_guard lock(mutex_);
    state_.cells.at(cell_index::b) &= static_cast<std::uint8_t>(~control::interrupts);
    state_.cells.at(cell_index::c) = 0;
    update_interrupt();
}

Rtc::State Rtc::save() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

void Rtc::load(const State& state) {
    if (state.version != State{}.version) {
        throw Error(
            "real-time clock: state of version {} found, {} needed: save it with this release",
            state.version, State{}.version);
    }
    const std::lock_guard lock(mutex_);
    state_ = state;
    state_.index &= index_mask;
    catch_up();
    update_interrupt();
}

const Rtc::Register* Rtc::find() const noexcept {
    const auto* const found =
        std::find_if(registers.begin(), registers.end(),
                     [&](const Register& row) { return row.index == state_.index; });
    return found == registers.end() ? nullptr : found;
}

std::uint8_t Rtc::read_selected() noexcept {
    catch_up();
    const Register* const row = find();
    const std::uint8_t value =
        row != nullptr && row->read != nullptr ? (this->*row->read)() : cell(state_.index);
    update_interrupt();
    return value;
}

void Rtc::write_selected(std::uint8_t value) noexcept {
    catch_up();
    const Register* const row = find();
    if (row == nullptr) {
        state_.cells.at(state_.index) = value;
    } else if (row->write != nullptr) {
        (this->*row->write)(value);
    }
    update_interrupt();
}

std::uint8_t Rtc::read_time() noexcept {
    if (!enabled(control::set)) show_time();
    return cell(state_.index);
}

std::uint8_t Rtc::read_a() noexcept {
    std::uint8_t& a = state_.cells.at(cell_index::a);
    const bool held = enabled(control::set) || (a & divider_reset) == divider_reset;
    const auto into_second = now_ - std::chrono::floor<seconds>(now_);
    const bool updating = !held && into_second >= seconds(1) - update_time;
    a = updating ? a | update_in_progress : a & static_cast<std::uint8_t>(~update_in_progress);
    return a;
}

std::uint8_t Rtc::read_c() noexcept {
    const std::uint8_t flags = std::exchange(state_.cells.at(cell_index::c), 0);
    const bool requested = (flags & cell(cell_index::b) & control::interrupts) != 0;
    return requested ? flags | interrupt_request : flags;
}

void Rtc::write_time(std::uint8_t value) noexcept {
    if (enabled(control::set)) {
        state_.cells.at(state_.index) = value;
        return;
    }
    show_time();
    state_.cells.at(state_.index) = value;
    adopt_time();
}

void Rtc::write_a(std::uint8_t value) noexcept {
    state_.cells.at(cell_index::a) = value & static_cast<std::uint8_t>(~update_in_progress);
}

void Rtc::write_b(std::uint8_t value) noexcept {
    const bool was_held = enabled(control::set);
    const bool held = (value & control::set) != 0;
    if (held && !was_held) show_time();
    // The written time is in the format that register B names from now on.
    state_.cells.at(cell_index::b) = value;
    if (was_held && !held) adopt_time();
}

std::uint8_t Rtc::cell(std::uint8_t index) const noexcept {
    return state_.cells.at(index);
}

bool Rtc::enabled(std::uint8_t control) const noexcept {
    return (cell(cell_index::b) & control) != 0;
}

std::uint8_t Rtc::encode(unsigned value) const noexcept {
    if (enabled(control::binary)) return static_cast<std::uint8_t>(value);
    return static_cast<std::uint8_t>(value / 10 << 4U | value % 10);
}

unsigned Rtc::decode(std::uint8_t value) const noexcept {
    if (enabled(control::binary)) return value;
    return (value >> 4U) * 10U + (value & 0x0fU);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const noexcept {
    if (enabled(control::hours_24)) return encode(hour);
    const std::uint8_t twelve = encode(hour % 12 == 0 ? 12 : hour % 12);
    return hour >= 12 ? twelve | afternoon : twelve;
}

unsigned Rtc::decode_hour(std::uint8_t value) const noexcept {
    if (enabled(control::hours_24)) return decode(value);
    const unsigned hour = decode(value & static_cast<std::uint8_t>(~afternoon)) % 12;
    return (value & afternoon) != 0 ? hour + 12 : hour;
}

sys_seconds Rtc::guest_time() const noexcept {
    return std::chrono::floor<seconds>(now_) + seconds(state_.offset_seconds);
}

void Rtc::show_time() noexcept {
    const sys_seconds time = guest_time();
    const sys_days today = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(today);
    const std::chrono::hh_mm_ss clock(time - today);
    const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
    auto& cells = state_.cells;
    cells.at(cell_index::second) = encode(static_cast<unsigned>(clock.seconds().count()));
    cells.at(cell_index::minute) = encode(static_cast<unsigned>(clock.minutes().count()));
    cells.at(cell_index::hour) = encode_hour(static_cast<unsigned>(clock.hours().count()));
    cells.at(cell_index::weekday) = encode(std::chrono::weekday(today).c_encoding() + 1);
    cells.at(cell_index::day) = encode(static_cast<unsigned>(date.day()));
    cells.at(cell_index::month) = encode(static_cast<unsigned>(date.month()));
    cells.at(cell_index::year) = encode(year % 100);
    cells.at(century_register) = encode(year / 100);
}

/// Nonsense in the cells becomes some time: fields too large carry over, the month is clamped.
void Rtc::adopt_time() noexcept {
    const unsigned year = decode(cell(century_register)) * 100 + decode(cell(cell_index::year));
    const unsigned month = std::clamp(decode(cell(cell_index::month)), 1U, 12U);
    const unsigned day = std::max(decode(cell(cell_index::day)), 1U);
    const sys_days first = std::chrono::year(static_cast<int>(year)) / static_cast<int>(month) / 1;
    const sys_seconds time = first + std::chrono::days(day - 1) +
                             std::chrono::hours(decode_hour(cell(cell_index::hour))) +
                             std::chrono::minutes(decode(cell(cell_index::minute))) +
                             seconds(decode(cell(cell_index::second)));
    state_.offset_seconds = (time - std::chrono::floor<seconds>(now_)).count();
}

/// From 1 second to a day; empty when the registers never match.
std::optional<seconds> Rtc::until_alarm(sys_seconds from) const noexcept {
    constexpr seconds day = std::chrono::days(1);
    const auto wanted = [&](std::uint8_t index, unsigned value) {
        const std::uint8_t cell_value = cell(index);
        if ((cell_value & any) == any) return true;
        return value ==
               (index == cell_index::hour_alarm ? decode_hour(cell_value) : decode(cell_value));
    };
    for (seconds after(1); after <= day;) {
        const sys_seconds time = from + after;
        const std::chrono::hh_mm_ss clock(time - std::chrono::floor<std::chrono::days>(time));
        if (!wanted(cell_index::hour_alarm, static_cast<unsigned>(clock.hours().count()))) {
            after += std::chrono::hours(1) - clock.minutes() - clock.seconds();
        } else if (!wanted(cell_index::minute_alarm,
                           static_cast<unsigned>(clock.minutes().count()))) {
            after += std::chrono::minutes(1) - clock.seconds();
        } else if (!wanted(cell_index::second_alarm,
                           static_cast<unsigned>(clock.seconds().count()))) {
            ++after;
        } else {
            return after;
        }
    }
    return std::nullopt;
}

/// Register A's rate, 1 to 15: a period is 2^(rate - 1) ticks of the crystal. 0 for none.
unsigned Rtc::period_shift() const noexcept {
    const unsigned rate = cell(cell_index::a) & rate_mask;
    // A 32768 Hz crystal gives the two slowest rates of this coding twice.
    return rate == 1 || rate == 2 ? rate + 7 : rate;
}

/// Periods of the periodic interrupt since the epoch.
std::uint64_t Rtc::periods(Time time) const noexcept {
    return period_shift() == 0 ? 0 : crystal_ticks(time) >> (period_shift() - 1);
}

void Rtc::catch_up() noexcept {
    const Time then{nanoseconds(state_.seen_nanoseconds)};
    now_ = clock_();
    state_.seen_nanoseconds = now_.time_since_epoch().count();
    if (now_ <= then) return;  // the host's clock was set back
    std::uint8_t& flags = state_.cells.at(cell_index::c);
    if (periods(now_) != periods(then)) flags |= control::periodic;
    const seconds passed = std::chrono::floor<seconds>(now_) - std::chrono::floor<seconds>(then);
    if (passed == seconds(0) || enabled(control::set)) return;
    flags |= control::update;
    const auto alarm = until_alarm(guest_time() - passed);
    if (alarm && *alarm <= passed) flags |= control::alarm;
}

void Rtc::update_interrupt() noexcept {
    const std::uint8_t flags = cell(cell_index::c);
    const bool wanted = (flags & cell(cell_index::b) & control::interrupts) != 0;
    if (wanted != std::exchange(asserted_, wanted)) interrupt_.set(wanted);
    ask_to_be_woken();
}

void Rtc::ask_to_be_woken() noexcept {
    const std::uint8_t awaited =
        cell(cell_index::b) & control::interrupts & static_cast<std::uint8_t>(~cell(cell_index::c));
    if (!wake_ || awaited == 0) return;
    std::optional<Time> deadline;
    const auto consider = [&](Time candidate) {
        deadline = std::min(deadline.value_or(candidate), candidate);
    };
    if (!enabled(control::set)) {
        const auto second = std::chrono::floor<seconds>(now_);
        if ((awaited & control::update) != 0) consider(second + seconds(1));
        if ((awaited & control::alarm) != 0) {
            if (const auto alarm = until_alarm(guest_time())) consider(second + *alarm);
        }
    }
    if ((awaited & control::periodic) != 0 && period_shift() != 0) {
        consider(crystal_time((periods(now_) + 1) << (period_shift() - 1)));
    }
    if (!deadline || deadline == asked_for_) return;
    asked_for_ = deadline;
    wake_(*deadline - now_);
}

}  // namespace viaduct::devices
