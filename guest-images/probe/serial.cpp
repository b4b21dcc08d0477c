#include "guest-images/probe/serial.hpp"

#include "guest-images/probe/cpu.hpp"

namespace probe {
namespace {

constexpr uint16_t line_status = serial::port + 5;
constexpr uint8_t transmitter_empty = 0x20;

void print_digits(uint64_t number, uint64_t base) {
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    print_item(Text{digits + first, sizeof(digits) - first});
}

}  // namespace

void serial::write(char character) {
    // Bounded, so that a machine without COM1 still runs to its exit status.
    for (int tries = 0; (in<uint8_t>(line_status) & transmitter_empty) == 0 && tries < 100'000;
         ++tries) {
        relax();
    }
    out<uint8_t>(port, static_cast<uint8_t>(character));
}

void print_item(Text text) {
    for (const char c : text) serial::write(c);
}

void print_item(Hex number) {
    print_item("0x");
    print_digits(number.value, 16);
}

void print_unsigned(uint64_t number) {
    print_digits(number, 10);
}

}  // namespace probe
