/// The operator's log, on stderr through spdlog: one line per event, `viaduct: level: text`. Never
/// called on the data path. A line that a guest can cause is limited by its caller: said once, or
/// written through a LogAllowance.
#pragma once

#include <string_view>

#include <fmt/core.h>

namespace viaduct::log {

enum class Level { debug, info, warning, error, off };

/// Throws Error naming the valid levels.
Level level_by_name(std::string_view name);
void set_level(Level level);

void write(Level level, fmt::string_view format, fmt::format_args args);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::debug, format, fmt::make_format_args(args...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::info, format, fmt::make_format_args(args...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::warning, format, fmt::make_format_args(args...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::error, format, fmt::make_format_args(args...));
}

}  // namespace viaduct::log
