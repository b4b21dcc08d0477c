/// A child process and when things happened to it. Time starts just before posix_spawn. Its
/// standard input is empty, its standard output a pipe, read as it comes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace viaduct::bench {

using Command = std::vector<std::string>;
using Milliseconds = std::chrono::duration<double, std::milli>;

class TimedChild {
public:
    explicit TimedChild(const Command& command);
    TimedChild(const TimedChild&) = delete;
    TimedChild& operator=(const TimedChild&) = delete;
    /// Kills it if it still runs.
    ~TimedChild();

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// Reads until the output holds `text`; throws Error when it ends first or takes too long.
    void wait_for_output(const std::string& text);
    /// Reads the rest and waits for the process to be gone; returns its exit status.
    int wait();

    /// From the start until the first byte of output; valid once there was one.
    [[nodiscard]] Milliseconds first_output() const noexcept { return first_output_; }
    /// From the start until it was gone, and the CPU time that it took; valid after wait().
    [[nodiscard]] Milliseconds lifetime() const noexcept { return lifetime_; }
    [[nodiscard]] Milliseconds cpu_time() const noexcept { return cpu_time_; }
    [[nodiscard]] const std::string& output() const noexcept { return output_; }

private:
    using Clock = std::chrono::steady_clock;

    /// One read; false at the end of the output.
    bool read_some();

    std::string name_;
    Clock::time_point start_;
    pid_t pid_ = -1;
    Fd pipe_;
    std::string output_;
    Milliseconds first_output_{};
    Milliseconds lifetime_{};
    Milliseconds cpu_time_{};
};

}  // namespace viaduct::bench
