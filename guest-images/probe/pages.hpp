// Memory for rings, buffers, stacks and tables: taken from the RAM behind the image, never given
// back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace probe {

// Zeroed, aligned to `alignment` (a power of two).
void* allocate(size_t size, size_t alignment = 4096);

inline uint64_t address_of(const volatile void* pointer) {
    return reinterpret_cast<uint64_t>(pointer);
}

template <typename T, typename... Arguments>
T& create(Arguments&&... arguments) {
    return *new (allocate(sizeof(T), alignof(T) < 16 ? 16 : alignof(T)))
        T(static_cast<Arguments&&>(arguments)...);
}

template <typename T>
T* allocate_array(size_t count, size_t alignment = 16) {
    return static_cast<T*>(allocate(count * sizeof(T), alignment));
}

// Makes physical addresses from 4 GiB up usable at the same virtual address.
void map_identity(uint64_t start, uint64_t size);

// Bits of a physical address that this CPU has.
unsigned physical_address_bits();

}  // namespace probe
