#include "base/log_allowance.hpp"

#include <algorithm>
#include <utility>

namespace viaduct {

LogAllowance::LogAllowance(std::string owner, Rate rate, std::function<Clock::time_point()> clock)
    : owner_(std::move(owner)),
      rate_(rate),
      clock_(std::move(clock)),
      lines_(rate_.lines),
      refilled_at_(clock_()) {}

LogAllowance::~LogAllowance() {
    if (left_out_ != 0) log::warning("{}: lines left out: {}", owner_, left_out_);
}

void LogAllowance::write(log::Level level, fmt::string_view format, fmt::format_args args) {
    const auto left_out = take();
    if (!left_out) return;
    if (*left_out == 0) return log::write(level, format, args);
    const std::string line =
        fmt::vformat(format, args) + fmt::format(" (lines left out before it: {})", *left_out);
    log::write(level, "{}", fmt::make_format_args(line));
}

std::optional<std::uint64_t> LogAllowance::take() {
    const std::lock_guard lock(mutex_);
    refill();
    if (lines_ == 0) {
        ++left_out_;
        return std::nullopt;
    }
    --lines_;
    return std::exchange(left_out_, 0);
}

void LogAllowance::refill() {
    const auto earned = (clock_() - refilled_at_) / rate_.refill;
    lines_ = static_cast<unsigned>(std::min<std::int64_t>(rate_.lines, lines_ + earned));
    refilled_at_ += earned * rate_.refill;
}

}  // namespace viaduct
