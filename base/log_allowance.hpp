/// Bounds the lines of the log that a guest can cause again and again, by resetting its device in a
/// loop for instance: a number of lines at once, and after that one now and then. Lines that are
/// left out are counted, and the next one that is written says how many; what is left out at the
/// end is told at the end.
///
/// One object for whatever the guest can make speak, so that one device's lines are never left out
/// for another's. From any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/log.hpp"

namespace viaduct {

class LogAllowance {
public:
    using Clock = std::chrono::steady_clock;

    struct Rate {
        unsigned lines = 10;              // at once
        std::chrono::seconds refill{60};  // for each further one
    };

    /// `owner` is whose lines these are, for the line at the end.
    explicit LogAllowance(std::string owner) : LogAllowance(std::move(owner), Rate{}, Clock::now) {}
    LogAllowance(std::string owner, Rate rate, std::function<Clock::time_point()> clock);
    LogAllowance(const LogAllowance&) = delete;
    LogAllowance& operator=(const LogAllowance&) = delete;
    ~LogAllowance();

    template <typename... Args>
    void warning(fmt::format_string<Args...> format, Args&&... args) {
        write(log::Level::warning, format, fmt::make_format_args(args...));
    }
    template <typename... Args>
    void error(fmt::format_string<Args...> format, Args&&... args) {
        write(log::Level::error, format, fmt::make_format_args(args...));
    }

private:
    void write(log::Level level, fmt::string_view format, fmt::format_args args);
    /// Nothing: the line is left out. Otherwise how many were before it.
    [[nodiscard]] std::optional<std::uint64_t> take();
    void refill();

    const std::string owner_;
    const Rate rate_;
    const std::function<Clock::time_point()> clock_;
    std::mutex mutex_;
    unsigned lines_;                 // that may be written; guarded by mutex_
    Clock::time_point refilled_at_;  // guarded by mutex_
    std::uint64_t left_out_ = 0;     // since the last line; guarded by mutex_
};

}  // namespace viaduct
