// Bounded waiting, measured by the TSC. No wait in the probe is without a bound.
#pragma once

#include <cstdint>

#include "guest-images/probe/cpu.hpp"

namespace probe {

struct Microseconds {
    uint64_t count;
};
constexpr Microseconds operator""_us(unsigned long long count) {
    return {count};
}
constexpr Microseconds operator""_ms(unsigned long long count) {
    return {count * 1'000};
}
constexpr Microseconds operator""_s(unsigned long long count) {
    return {count * 1'000'000};
}

// Calibrated on first use against the local APIC's timer (1 GHz under KVM), which takes 2 ms.
uint64_t tsc_ticks_per_microsecond();

class Stopwatch {
public:
    Microseconds elapsed() const { return {(read_tsc() - start_) / tsc_ticks_per_microsecond()}; }

private:
    uint64_t start_ = read_tsc();
};

class Deadline {
public:
    explicit Deadline(Microseconds duration)
        : end_{read_tsc() + duration.count * tsc_ticks_per_microsecond()} {}
    bool has_passed() const { return read_tsc() >= end_; }
    Microseconds remaining() const {
        const uint64_t now = read_tsc();
        return {now >= end_ ? 0 : (end_ - now) / tsc_ticks_per_microsecond()};
    }

private:
    uint64_t end_;
};

// Halts, interrupts on, until an interrupt was taken or the time is up.
void halt_at_most(Microseconds duration);

// Both answer whether the condition became true in time. The first spins with interrupts off. The
// second halts and takes interrupts in between; what became true without an interrupt to tell is
// not in time.
template <typename Condition>
bool spin_until(Microseconds limit, Condition condition) {
    const Deadline deadline{limit};
    while (!condition()) {
        if (deadline.has_passed()) return condition();
        relax();
    }
    return true;
}

template <typename Condition>
bool halt_until(Microseconds limit, Condition condition) {
    const Deadline deadline{limit};
    while (!condition()) {
        halt_at_most(deadline.remaining());
        if (deadline.has_passed()) return false;
    }
    return true;
}

// Lets time pass with interrupts taken: a late interrupt gets its chance to arrive and be counted.
inline void settle(Microseconds duration) {
    halt_until(duration, [] { return false; });
}

}  // namespace probe
