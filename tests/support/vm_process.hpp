/// A `viaduct run` under test, as its user has it: a process with options, its output, its QMP
/// socket and its exit status.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "tests/support/temporary_directory.hpp"

namespace viaduct::test {

using Seconds = std::chrono::duration<double>;

/// What became of a process that has ended.
struct Outcome {
    int status = -1;  // exit status; 128 + N after signal N; -1 when it had to be killed
    std::string out;
    std::string err;
};

/// A child process. Killed, with a note in Outcome::err, when its deadline passes.
class Process {
public:
    Process(const std::vector<std::string>& command, Seconds deadline);
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    /// Kills it if it still runs.
    ~Process();

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    void send_signal(int signal) const;
    /// Standard output so far.
    [[nodiscard]] std::string out() const;
    /// Standard error so far.
    [[nodiscard]] std::string err() const;
    [[nodiscard]] bool running() const;
    /// Waits until standard output holds `text`; false at the deadline or the process's end.
    bool wait_for_output(const std::string& text, Seconds deadline) const;
    /// Waits for its end.
    Outcome wait();

private:
    pid_t pid_ = -1;
    std::chrono::steady_clock::time_point deadline_;
    TemporaryDirectory directory_;
    bool ended_ = false;
};

/// Runs a command to its end.
Outcome run(const std::vector<std::string>& command, Seconds deadline = Seconds(60));

/// The program under test, and the bare-metal guest built beside it.
std::string viaduct_program();
std::string probe_image();
std::string probe64_image();

/// What that guest writes to the debug-exit port for "passed", as an exit status.
inline constexpr int probe_passed = 0x10 << 1 | 1;

/// A file of `bytes` bytes whose sector s is filled with the byte s + 1 (mod 251).
void make_pattern_image(const std::string& path, std::uint64_t bytes);

}  // namespace viaduct::test
