/// A client that asks a machine how it is, again and again over a connection of its own, and times
/// every answer: QMP answers at once, whatever a device or another client is doing.
///
/// The machine under test shares its processors with everything else that a test runs, so the watch
/// also wakes a thread that has nothing to do at the moment of each question. How much later than
/// that thread's wake-up the answer came is what QMP itself took, and what is bounded.
#pragma once

#include <atomic>
#include <chrono>
#include <iosfwd>
#include <memory>
#include <string>
#include <thread>

#include "base/event_fd.hpp"
#include "tests/qmp_client.hpp"

namespace viaduct::test {

class QmpWatch {
public:
    using Milliseconds = std::chrono::duration<double, std::milli>;

    /// What no answer may take.
    static constexpr Milliseconds bound{100};

    struct Report {
        unsigned answers = 0;
        Milliseconds longest{0};         // answer
        Milliseconds longest_wake_up{0}; // of a thread that had nothing to do
        Milliseconds longest_excess{0};  // of an answer over the wake-up at the same moment
        std::string slowest;             // the command of that answer
        std::string failure;             // why the watch ended early

        [[nodiscard]] bool prompt() const noexcept;
    };

    /// Takes a client that has negotiated; `between`: from an answer to the next question.
    explicit QmpWatch(std::unique_ptr<tests::QmpClient> client,
                      std::chrono::milliseconds between = std::chrono::milliseconds(5));
    QmpWatch(const QmpWatch&) = delete;
    QmpWatch& operator=(const QmpWatch&) = delete;
    ~QmpWatch();

    /// Before the machine ends: an answer that does not come is a failure.
    Report end();

private:
    using Clock = std::chrono::steady_clock;

    void watch();
    void ask(const char* command);

    std::unique_ptr<tests::QmpClient> client_;
    std::chrono::milliseconds between_;
    Report report_;
    std::atomic<bool> ends_ = false;
    EventFd wake_;
    EventFd woken_;
    Clock::time_point woken_at_;  // belongs to the sleeper between wake_ and woken_
    std::thread sleeper_;
    std::thread watcher_;
};

/// In words, for a test's output.
std::ostream& operator<<(std::ostream& out, const QmpWatch::Report& report);

}  // namespace viaduct::test
