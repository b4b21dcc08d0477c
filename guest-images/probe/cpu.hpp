// Instructions that C++ has no words for: ports, MMIO of an exact width, MSRs, CPUID, waiting.
#pragma once

#include <cstdint>
#include <type_traits>

namespace probe {

struct CpuidResult {
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
};

inline CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    CpuidResult result{};
    asm volatile("cpuid"
                 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                 : "a"(leaf), "c"(subleaf));
    return result;
}

inline uint64_t read_msr(uint32_t msr) {
    uint32_t low = 0;
    uint32_t high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return low | uint64_t{high} << 32;
}

inline void write_msr(uint32_t msr, uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(msr), "a"(static_cast<uint32_t>(value)),
                   "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}

inline uint64_t read_tsc() {
    uint32_t low = 0;
    uint32_t high = 0;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return low | uint64_t{high} << 32;
}

inline void relax() {
    asm volatile("pause" ::: "memory");
}

// The probe runs with interrupts off; they are taken here and nowhere else. `sti` holds them back
// for one instruction, so an interrupt that is already pending ends the hlt.
inline void wait_for_interrupt() {
    asm volatile("sti; hlt; cli" ::: "memory");
}

template <typename T>
T in(uint16_t port) {
    T value{};
    asm volatile("in %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

template <typename T>
void out(uint16_t port, std::type_identity_t<T> value) {
    asm volatile("out %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

// Memory is identity-mapped: an address is a pointer.
template <typename T>
T* at_address(uint64_t address) {
    return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr)
}

// One access of exactly this width: a compiler may narrow or fold even a volatile access.
template <typename T>
T mmio_read(uint64_t address) {
    T value{};
    asm volatile("mov %1, %0" : "=r"(value) : "m"(*at_address<const T>(address)) : "memory");
    return value;
}

template <typename T>
void mmio_write(uint64_t address, std::type_identity_t<T> value) {
    asm volatile("mov %1, %0" : "=m"(*at_address<T>(address)) : "r"(value) : "memory");
}

}  // namespace probe
