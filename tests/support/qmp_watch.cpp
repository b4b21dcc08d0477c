#include "tests/support/qmp_watch.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <utility>

#include <fmt/format.h>

namespace viaduct::test {
namespace {

constexpr std::array commands{"query-status", "query-vdpa", "query-blockstats"};

/// An answer that has not come by then does not come.
constexpr std::chrono::seconds given_up{60};

void wait_for(const EventFd& event) {
    pollfd poll{event.fd(), POLLIN, 0};
    while (::poll(&poll, 1, -1) != 1) {}
    (void)event.take();
}

}  // namespace

bool QmpWatch::Report::prompt() const noexcept {
    return answers != 0 && failure.empty() && longest_excess <= bound;
}

QmpWatch::QmpWatch(std::unique_ptr<tests::QmpClient> client, std::chrono::milliseconds between)
    : client_(std::move(client)),
      between_(between),
      sleeper_([this] {
          while (true) {
              wait_for(wake_);
              woken_at_ = Clock::now();
              if (ends_) return;
              woken_.signal();
          }
      }),
      watcher_([this] { watch(); }) {}

QmpWatch::~QmpWatch() {
    if (watcher_.joinable()) (void)end();
}

QmpWatch::Report QmpWatch::end() {
    ends_ = true;
    watcher_.join();
    wake_.signal();
    sleeper_.join();
    return report_;
}

void QmpWatch::watch() {
    try {
        while (!ends_) {
            for (const char* command : commands) ask(command);
            std::this_thread::sleep_for(between_);
        }
    } catch (const Error& failure) {
        report_.failure = failure.what();
    }
}

void QmpWatch::ask(const char* command) {
    const auto asked = Clock::now();
    wake_.signal();
    (void)client_->execute(command, {}, given_up);
    const auto answered = Clock::now();
    wait_for(woken_);
    ++report_.answers;
    report_.longest = std::max<Milliseconds>(report_.longest, answered - asked);
    report_.longest_wake_up = std::max<Milliseconds>(report_.longest_wake_up, woken_at_ - asked);
    const Milliseconds excess = answered - woken_at_;
    if (excess <= report_.longest_excess) return;
    report_.longest_excess = excess;
    report_.slowest = command;
}

std::ostream& operator<<(std::ostream& out, const QmpWatch::Report& report) {
    return out << fmt::format(
               "{} answers, the longest {:.1f} ms; an idle thread woke within {:.1f} ms; an answer "
               "came up to {:.1f} ms after it ({}){}{}",
               report.answers, report.longest.count(), report.longest_wake_up.count(),
               report.longest_excess.count(), report.slowest, report.failure.empty() ? "" : ": ",
               report.failure);
}

}  // namespace viaduct::test
