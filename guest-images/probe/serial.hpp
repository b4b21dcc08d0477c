// COM1, polled, and a print of anything printable on it.
#pragma once

#include <concepts>
#include <cstdint>

#include "guest-images/probe/text.hpp"

namespace probe {

namespace serial {
inline constexpr uint16_t port = 0x3f8;
void write(char character);
}  // namespace serial

struct Hex {
    uint64_t value;
};
constexpr Hex hex(uint64_t value) {
    return {value};
}

void print_item(Text text);
void print_item(Hex number);
void print_unsigned(uint64_t number);
inline void print_item(const char* text) {
    print_item(Text{text});
}
inline void print_item(bool value) {
    print_item(value ? "true" : "false");
}
template <std::integral T>
void print_item(T number) {
    if (number < T{0}) print_item("-");
    print_unsigned(number < T{0} ? ~static_cast<uint64_t>(number) + 1
                                 : static_cast<uint64_t>(number));
}

template <typename... Items>
void print(const Items&... items) {
    (print_item(items), ...);
}

}  // namespace probe
