/// Quantities as people write and read them. Sizes are binary, as QEMU's: 1K is 1024 bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace viaduct::ctl {

/// "4096", "10M", "1.5G" to bytes. `option` ("--bps") begins the UsageError that is thrown for
/// anything else; so it does below.
[[nodiscard]] std::uint64_t parse_size(std::string_view option, std::string_view text);

/// "100": a number without a unit.
[[nodiscard]] std::uint64_t parse_count(std::string_view option, std::string_view text);

/// "500ms", "5s", "2m", and "5" or "0.5" for seconds. Rounded to the millisecond; at most a day.
[[nodiscard]] std::chrono::milliseconds parse_duration(std::string_view option,
                                                       std::string_view text);

/// "512 B", "4 KiB", "1.21 GiB": three digits, but whole numbers without ".00".
[[nodiscard]] std::string format_size(double bytes);

/// "0 ns", "812 ns", "1.20 ms", "30.0 s".
[[nodiscard]] std::string format_nanoseconds(double nanoseconds);

/// Of things a second: "0.50", "812", "81234", "123k", "1.23M".
[[nodiscard]] std::string format_rate(double per_second);

}  // namespace viaduct::ctl
