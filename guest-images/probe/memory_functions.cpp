// The four functions that the compiler calls on its own, as string instructions: one instruction
// for the emulator instead of a loop.
#include <cstddef>
#include <cstdint>

extern "C" {

void* memcpy(void* destination, const void* source, size_t size) {
    void* cursor = destination;
    size_t quads = size / 8;
    size_t rest = size % 8;
    asm volatile("rep movsq" : "+D"(cursor), "+S"(source), "+c"(quads)::"memory");
    asm volatile("rep movsb" : "+D"(cursor), "+S"(source), "+c"(rest)::"memory");
    return destination;
}

void* memset(void* destination, int value, size_t size) {
    void* cursor = destination;
    const uint64_t pattern = 0x0101010101010101ULL * static_cast<uint8_t>(value);
    size_t quads = size / 8;
    size_t rest = size % 8;
    asm volatile("rep stosq" : "+D"(cursor), "+c"(quads) : "a"(pattern) : "memory");
    asm volatile("rep stosb" : "+D"(cursor), "+c"(rest) : "a"(pattern) : "memory");
    return destination;
}

void* memmove(void* destination, const void* source, size_t size) {
    if (destination <= source) return memcpy(destination, source, size);
    auto* to = static_cast<uint8_t*>(destination);
    const auto* from = static_cast<const uint8_t*>(source);
    while (size-- != 0) to[size] = from[size];
    return destination;
}

int memcmp(const void* left, const void* right, size_t size) {
    const auto* a = static_cast<const uint8_t*>(left);
    const auto* b = static_cast<const uint8_t*>(right);
    for (size_t i = 0; i < size; ++i) {
        if (a[i] != b[i]) return a[i] - b[i];
    }
    return 0;
}

}  // extern "C"
