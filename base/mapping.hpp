/// A memory mapping (mmap(2)) with one owner, unmapped with it.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <utility>

namespace viaduct {

class Mapping {
public:
    Mapping() noexcept = default;
    /// Maps `size` bytes of `fd` from `offset`; throws SystemError naming `what`.
    Mapping(const char* what, std::size_t size, int protection, int flags, int fd = -1,
            off_t offset = 0);
    Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    /// Takes over a mapping that exists.
    static Mapping adopt(std::span<std::byte> bytes) noexcept {
        Mapping mapping;
        mapping.bytes_ = bytes;
        return mapping;
    }

    [[nodiscard]] explicit operator bool() const noexcept { return !bytes_.empty(); }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

private:
    std::span<std::byte> bytes_;
};

}  // namespace viaduct
