// COM1's other direction: a line, taken by polling or by IRQ 4.
#pragma once

#include <cstddef>

#include "guest-images/probe/text.hpp"

namespace probe::serial {

// Lives as long as the machine once its interrupt is on.
class Input {
public:
    // Every byte that is there. What follows a line's end is lost until the line is forgotten.
    void take_all();
    bool has_line() const { return *const_cast<const volatile bool*>(&is_complete_); }
    Text line() const { return {line_, size_}; }
    void forget_line();

    // Bytes are taken as they come from here on; the vector of the interrupt.
    uint8_t turn_interrupt_on();
    void turn_interrupt_off();

private:
    static void take_interrupt(void* context);

    static constexpr size_t capacity = 4096;

    char line_[capacity];
    size_t size_ = 0;
    bool is_complete_ = false;
};

}  // namespace probe::serial
