#include "base/log.hpp"

#include <array>
#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/error.hpp"

namespace viaduct::log {
namespace {

constexpr std::array<std::string_view, 5> names{"debug", "info", "warning", "error", "off"};

spdlog::level::level_enum to_spdlog(Level level) {
    constexpr std::array levels{spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                spdlog::level::err, spdlog::level::off};
    return levels.at(static_cast<std::size_t>(level));
}

spdlog::logger& logger() {
    static const std::shared_ptr<spdlog::logger> instance = [] {
        auto made = std::make_shared<spdlog::logger>(
            "viaduct", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made->set_pattern("%n: %l: %v");
        made->set_level(spdlog::level::warn);
        return made;
    }();
    return *instance;
}

}  // namespace

Level level_by_name(std::string_view name) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names.at(i) == name) return static_cast<Level>(i);
    }
    throw Error("log level '{}' is not known: use one of {}", name, fmt::join(names, ", "));
}

void set_level(Level level) {
    logger().set_level(to_spdlog(level));
}

void write(Level level, fmt::string_view format, fmt::format_args args) {
    const auto spdlog_level = to_spdlog(level);
    if (logger().should_log(spdlog_level)) logger().log(spdlog_level, fmt::vformat(format, args));
}

}  // namespace viaduct::log
