/// A file that a guest is started from (kernel, initrd), read piece by piece straight into guest
/// memory. Offsets and lengths that come out of the file itself may be anything: every read is
/// checked against the file's size. All errors are Error and begin `kernel '/path/name' ...`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace viaduct::firmware {

class BootFile {
public:
    /// `role` is what the operator calls it: "kernel", "initrd".
    BootFile(std::string_view role, const std::string& path);

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    /// Fills `into` from `offset`; `part` names what is being read when the file is too short.
    void read(std::string_view part, std::uint64_t offset, std::span<std::byte> into) const;

    /// The bytes at `offset` as a structure of the file format.
    template <typename T>
    [[nodiscard]] T read_as(std::string_view part, std::uint64_t offset) const {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        read(part, offset, std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }

    template <typename... Args>
    [[noreturn]] void reject(fmt::format_string<Args...> format, Args&&... args) const {
        throw Error("{} {}", name_, fmt::vformat(format, fmt::make_format_args(args...)));
    }

private:
    std::string name_;
    Fd fd_;
    std::uint64_t size_ = 0;
};

}  // namespace viaduct::firmware
