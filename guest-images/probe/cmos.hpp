// The real-time clock and its battery-backed memory behind ports 0x70 and 0x71.
#pragma once

#include <cstdint>

namespace probe::cmos {

uint8_t read(uint8_t index);
void write(uint8_t index, uint8_t value);

struct Time {
    uint32_t year, month, day, hour, minute, second;
};
// A consistent reading, BCD or binary, 12 or 24 hours, as status register B says.
Time read_time();
// Seconds since 1970, UTC.
uint64_t to_epoch(const Time& time);

}  // namespace probe::cmos
