/// Strong types for the three kinds of address that must never be mixed up: a guest physical
/// address, a device's I/O virtual address, and (as std::span or pointer) a host virtual address.
#pragma once

#include <compare>
#include <cstdint>

namespace viaduct {

/// Guest physical address: what a vCPU puts on its bus.
struct Gpa {
    std::uint64_t value = 0;
    friend auto operator<=>(Gpa, Gpa) = default;
    friend Gpa operator+(Gpa address, std::uint64_t offset) { return {address.value + offset}; }
};

/// I/O virtual address: what a device's descriptors name. Guest memory is mapped with
/// IOVA = GPA; the shadow window of the slow path is the exception.
struct Iova {
    std::uint64_t value = 0;
    friend auto operator<=>(Iova, Iova) = default;
    friend Iova operator+(Iova address, std::uint64_t offset) { return {address.value + offset}; }
};

}  // namespace viaduct
