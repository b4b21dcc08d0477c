#include "guest-images/probe/cmos.hpp"

#include "guest-images/probe/acpi.hpp"
#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::cmos {
namespace {

constexpr uint16_t index_port = 0x70;
constexpr uint16_t value_port = 0x71;

namespace reg {
constexpr uint8_t second = 0x00;
constexpr uint8_t minute = 0x02;
constexpr uint8_t hour = 0x04;
constexpr uint8_t day = 0x07;
constexpr uint8_t month = 0x08;
constexpr uint8_t year = 0x09;
constexpr uint8_t status_a = 0x0a;
constexpr uint8_t status_b = 0x0b;
constexpr uint8_t usual_century = 0x32;
}  // namespace reg

constexpr uint8_t update_in_progress = 0x80;
constexpr uint8_t is_binary = 0x04;
constexpr uint8_t is_24_hours = 0x02;
constexpr uint8_t is_afternoon = 0x80;

uint8_t century_register() {
    const acpi::Header* fadt = acpi::find_table("FACP");
    if (fadt == nullptr) return reg::usual_century;
    const uint8_t century = reinterpret_cast<const acpi::Fadt*>(fadt)->century;
    return century != 0 ? century : reg::usual_century;
}

Time read_once() {
    const uint8_t format = read(reg::status_b);
    const auto decode = [format](uint8_t raw) -> uint32_t {
        return (format & is_binary) != 0 ? raw : (raw >> 4) * 10U + (raw & 0xfU);
    };
    const uint8_t raw_hour = read(reg::hour);
    uint32_t hour = decode(raw_hour & 0x7f);
    if ((format & is_24_hours) == 0) {
        hour = hour % 12 + ((raw_hour & is_afternoon) != 0 ? 12 : 0);
    }
    return {decode(read(century_register())) * 100 + decode(read(reg::year)),
            decode(read(reg::month)),
            decode(read(reg::day)),
            hour,
            decode(read(reg::minute)),
            decode(read(reg::second))};
}

}  // namespace

uint8_t read(uint8_t index) {
    out<uint8_t>(index_port, index);
    return in<uint8_t>(value_port);
}

void write(uint8_t index, uint8_t value) {
    out<uint8_t>(index_port, index);
    out<uint8_t>(value_port, value);
}

Time read_time() {
    const Deadline deadline{2_s};
    for (;;) {
        CHECK(!deadline.has_passed(), "the clock cannot be read: status A ",
              hex(read(reg::status_a)));
        if ((read(reg::status_a) & update_in_progress) != 0) continue;
        const Time time = read_once();
        // Two equal readings in a row: no register changed in between.
        if (to_epoch(read_once()) == to_epoch(time)) return time;
    }
}

uint64_t to_epoch(const Time& time) {
    // Days from civil, counting years from March so that the leap day comes last.
    const uint64_t year = time.year - (time.month <= 2 ? 1 : 0);
    const uint64_t month = (time.month + 9) % 12;
    const uint64_t day_of_year = (153 * month + 2) / 5 + time.day - 1;
    const uint64_t days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719468;
    return ((days * 24 + time.hour) * 60 + time.minute) * 60 + time.second;
}

}  // namespace probe::cmos
