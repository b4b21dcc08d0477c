/// A client that asks a machine how it is, again and again over a connection of its own, and times
/// every answer: QMP answers at once, whatever a device or another client is doing.
///
/// The machine under test shares its processors with everything else that a test runs, in the lab a
/// single emulated one. So two things are measured between a question and its answer: for how long
/// the two threads that have to do with it, the server's and the client's, were ready to run and no
/// processor ran them (the kernel counts it); and by how much a metronome was late, a thread that
/// does nothing but wake by its clock, which also sees an emulated processor that stood still
/// itself. What an answer took beyond the longer of these is QMP's own, and is bounded.
#pragma once

#include <atomic>
#include <chrono>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "tests/qmp_client.hpp"

namespace viaduct::test {

/// A thread that wakes at regular times, and knows how late it was.
class Metronome {
public:
    using Nanoseconds = std::chrono::nanoseconds;

    Metronome();
    Metronome(const Metronome&) = delete;
    Metronome& operator=(const Metronome&) = delete;
    ~Metronome();

    /// In all, up to the next beat from now on.
    [[nodiscard]] Nanoseconds lateness() const;

private:
    std::atomic<bool> ends_ = false;
    std::atomic<unsigned> beats_ = 0;
    std::atomic<std::int64_t> late_ = 0;  // ns
    std::thread thread_;
};

class QmpWatch {
public:
    using Milliseconds = std::chrono::duration<double, std::milli>;

    /// What no answer may take.
    static constexpr Milliseconds bound{100};

    struct Report {
        unsigned answers = 0;
        Milliseconds longest{0};         // answer
        Milliseconds longest_late{0};    // for want of a processor, during an answer
        Milliseconds longest_excess{0};  // of an answer over that
        std::string slowest;             // the command of that answer
        std::string failure;             // why the watch ended early

        /// All answers came within the bound, where there are deadlines (deadlines.hpp).
        [[nodiscard]] bool prompt() const;
    };

    /// Takes a client that has negotiated, of a server that answers in its first thread over a unix
    /// socket; `between`: from an answer to the next question.
    explicit QmpWatch(std::unique_ptr<tests::QmpClient> client,
                      std::chrono::milliseconds between = std::chrono::milliseconds(5));
    QmpWatch(const QmpWatch&) = delete;
    QmpWatch& operator=(const QmpWatch&) = delete;
    ~QmpWatch();

    /// Before the machine ends: an answer that does not come is a failure.
    Report end();

private:
    void watch();
    void ask(std::string_view command);
    /// How long server and client have waited for a processor so far.
    [[nodiscard]] std::chrono::nanoseconds waiting() const;

    std::unique_ptr<tests::QmpClient> client_;
    std::string server_;  // its thread, as /proc names it
    std::chrono::milliseconds between_;
    Report report_;
    std::atomic<bool> ends_ = false;
    Metronome metronome_;
    std::thread thread_;
};

/// In words, for a test's output.
std::ostream& operator<<(std::ostream& out, const QmpWatch::Report& report);

}  // namespace viaduct::test
