#include "vmm/ctl/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

#include <fmt/core.h>

#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {
namespace {

struct Unit {
    std::string_view name;
    double factor;
};

constexpr double kibi = 1024;
constexpr std::array size_suffixes{
    Unit{"", 1},
    Unit{"K", kibi},
    Unit{"k", kibi},
    Unit{"M", kibi* kibi},
    Unit{"m", kibi* kibi},
    Unit{"G", kibi* kibi* kibi},
    Unit{"g", kibi* kibi* kibi},
    Unit{"T", kibi* kibi* kibi* kibi},
};
/// To milliseconds.
constexpr std::array duration_suffixes{Unit{"", 1e3}, Unit{"s", 1e3}, Unit{"ms", 1},
                                       Unit{"m", 60e3}};

/// A decimal number and one of the suffixes, multiplied; nothing for anything else.
std::optional<double> parse_quantity(std::string_view text, std::span<const Unit> suffixes) {
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
    if (error != std::errc{} || !std::isfinite(value) || std::signbit(value)) return std::nullopt;
    const std::string_view suffix(stop, static_cast<std::size_t>(end - stop));
    for (const Unit& unit : suffixes) {
        if (unit.name == suffix) return value * unit.factor;
    }
    return std::nullopt;
}

/// Three digits: "1.23", "12.3", "123", "1023".
std::string three_digits(double value) {
    // What rounds up to 10.0 or 100 has a digit less after the point.
    if (value < 9.995) return fmt::format("{:.2f}", value);
    if (value < 99.95) return fmt::format("{:.1f}", value);
    return fmt::format("{:.0f}", value);
}

}  // namespace

std::uint64_t parse_size(std::string_view option, std::string_view text) {
    constexpr double too_much = 9.3e18;  // of 63 bits, QMP's integers
    const auto bytes = parse_quantity(text, size_suffixes);
    if (!bytes || *bytes >= too_much) {
        throw UsageError("{}: '{}' is not a size: write it as 4096, 512K, 10M or 1G", option, text);
    }
    return static_cast<std::uint64_t>(std::llround(*bytes));
}

std::uint64_t parse_count(std::string_view option, std::string_view text) {
    std::uint64_t count = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, count);
    if (error != std::errc{} || stop != end) {
        throw UsageError("{}: '{}' is not a number: write digits only, as 100", option, text);
    }
    return count;
}

std::chrono::milliseconds parse_duration(std::string_view option, std::string_view text) {
    constexpr double day = 86'400e3;
    const auto milliseconds = parse_quantity(text, duration_suffixes);
    if (!milliseconds || *milliseconds > day) {
        throw UsageError("{}: '{}' is not a time: write it as 500ms, 5s or 2m", option, text);
    }
    return std::chrono::milliseconds(std::llround(*milliseconds));
}

std::string format_size(double bytes) {
    constexpr std::array<std::string_view, 5> names{"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t name = 0;
    // From 1023.5 on it would be shown as 1024.
    while (bytes >= kibi - 0.5 && name + 1 < names.size()) {
        bytes /= kibi;
        ++name;
    }
    const bool whole = bytes == std::floor(bytes);
    return fmt::format("{} {}", whole ? fmt::format("{:.0f}", bytes) : three_digits(bytes),
                       names[name]);
}

std::string format_nanoseconds(double nanoseconds) {
    if (nanoseconds < 999.5) return fmt::format("{:.0f} ns", nanoseconds);
    if (nanoseconds < 999.5e3) return three_digits(nanoseconds / 1e3) + " µs";
    if (nanoseconds < 999.5e6) return three_digits(nanoseconds / 1e6) + " ms";
    return three_digits(nanoseconds / 1e9) + " s";
}

std::string format_rate(double per_second) {
    if (per_second == 0) return "0";
    if (per_second < 99'999.5) {
        return per_second < 99.95 ? three_digits(per_second) : fmt::format("{:.0f}", per_second);
    }
    if (per_second < 999.5e3) return three_digits(per_second / 1e3) + "k";
    return three_digits(per_second / 1e6) + "M";
}

}  // namespace viaduct::ctl
