#include "tests/support/qmp_watch.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <ostream>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "tests/support/deadlines.hpp"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<std::string_view, 3> commands{"query-status", "query-vdpa",
                                                   "query-blockstats"};

/// An answer that has not come by then does not come.
constexpr std::chrono::seconds given_up{60};

constexpr std::chrono::milliseconds beat{5};

/// For how long a thread was ready to run and did not, of its folder in /proc (the second number of
/// its schedstat: Documentation/scheduler/sched-stats.rst of the kernel).
std::chrono::nanoseconds waited_for_a_processor(const std::string& thread) {
    std::ifstream file("/proc/" + thread + "/schedstat");
    std::chrono::nanoseconds::rep running = 0;
    std::chrono::nanoseconds::rep waiting = 0;
    if (!(file >> running >> waiting)) throw Error("/proc/{}/schedstat cannot be read", thread);
    return std::chrono::nanoseconds(waiting);
}

/// The first thread of the process that listens for the client.
std::string server_of(const tests::QmpClient& client) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(client.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        throw SystemError("getsockopt SO_PEERCRED");
    }
    return std::to_string(peer.pid);
}

}  // namespace

Metronome::Metronome()
    : thread_([this] {
          while (!ends_) {
              const auto due = Clock::now() + beat;
              std::this_thread::sleep_until(due);
              late_ += Nanoseconds(Clock::now() - due).count();
              ++beats_;
          }
      }) {}

Metronome::~Metronome() {
    ends_ = true;
    thread_.join();
}

Metronome::Nanoseconds Metronome::lateness() const {
    for (const unsigned before = beats_; beats_ == before;) std::this_thread::sleep_for(beat / 5);
    return Nanoseconds(late_);
}

bool QmpWatch::Report::prompt() const {
    std::ostringstream figures;
    figures << *this;
    return answers != 0 && failure.empty() &&
           keeps_deadline(longest_excess <= bound, figures.str());
}

QmpWatch::QmpWatch(std::unique_ptr<tests::QmpClient> client, std::chrono::milliseconds between)
    : client_(std::move(client)), server_(server_of(*client_)), between_(between) {
    // A program's first answer waits for its file, which in the lab comes from another machine.
    for (const auto command : commands) (void)client_->execute(command, {}, given_up);
    thread_ = std::thread([this] { watch(); });
}

QmpWatch::~QmpWatch() {
    if (thread_.joinable()) (void)end();
}

QmpWatch::Report QmpWatch::end() {
    ends_ = true;
    thread_.join();
    return report_;
}

void QmpWatch::watch() {
    try {
        while (!ends_) {
            for (const auto command : commands) ask(command);
            std::this_thread::sleep_for(between_);
        }
    } catch (const Error& failure) {
        report_.failure = failure.what();
    }
}

void QmpWatch::ask(std::string_view command) {
    const auto late_before = metronome_.lateness();
    const auto waiting_before = waiting();
    const auto asked = Clock::now();
    client_->send(fmt::format("{{\"execute\": \"{}\"}}\n", command));
    // An event begins with its time.
    std::optional<std::string> line;
    do line = client_->receive_line(given_up);
    while (line && line->starts_with(R"({"timestamp")"));
    const Milliseconds taken = Clock::now() - asked;
    if (!line) throw Error("{}: the server closed the connection", command);
    if (!line->starts_with(R"({"return")")) throw Error("{}: {}", command, *line);
    const Milliseconds waited = waiting() - waiting_before;
    const Milliseconds late = std::max<Milliseconds>(waited, metronome_.lateness() - late_before);
    const Milliseconds excess = taken - late;
    ++report_.answers;
    report_.longest = std::max(report_.longest, taken);
    report_.longest_late = std::max(report_.longest_late, late);
    if (excess <= report_.longest_excess) return;
    report_.longest_excess = excess;
    report_.slowest = command;
}

std::chrono::nanoseconds QmpWatch::waiting() const {
    return waited_for_a_processor(server_) + waited_for_a_processor("thread-self");
}

std::ostream& operator<<(std::ostream& out, const QmpWatch::Report& report) {
    return out << fmt::format(
               "{} answers within {:.1f} ms, up to {:.1f} ms of them for want of a processor; "
               "an answer took up to {:.1f} ms beyond that ({}){}{}",
               report.answers, report.longest.count(), report.longest_late.count(),
               report.longest_excess.count(), report.slowest, report.failure.empty() ? "" : ": ",
               report.failure);
}

}  // namespace viaduct::test
