#include "guest-images/probe/completion_gaps.hpp"

#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/serial.hpp"

namespace probe {

void CompletionGaps::count_completion() {
    const uint64_t now = read_tsc();
    if (last_ != 0 && now - last_ > longest_) longest_ = now - last_;
    last_ = now;
}

void CompletionGaps::answer() {
    if (!input_.has_line()) return;
    input_.forget_line();
    count_completion();
    print("gap us=", longest_ / tsc_ticks_per_microsecond(), "\n");
    longest_ = 0;
    last_ = read_tsc();
}

}  // namespace probe
