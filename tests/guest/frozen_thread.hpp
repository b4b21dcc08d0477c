/// A thread of the program under test that stands still, as one does that waits for a device.
#pragma once

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/error.hpp"

namespace viaduct::test {

/// A thread that stands still while this lives; the process's others run on.
class FrozenThread {
public:
    enum class Where : std::uint8_t {
        anywhere,
        /// Where it is about to hand something to its io_uring. A disk's queue that is at work then
        /// has requests in flight that do not come back; one that only starts may have none.
        submitting,
    };

    /// The last started of that name.
    FrozenThread(pid_t process, std::string_view name, Where where = Where::anywhere)
        : thread_(find(process, name)) {
        if (::ptrace(PTRACE_SEIZE, thread_, nullptr, PTRACE_O_TRACESYSGOOD) != 0) {
            throw SystemError("PTRACE_SEIZE");
        }
        if (::ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) != 0) {
            throw SystemError("PTRACE_INTERRUPT");
        }
        wait_for_stop();
        while (where == Where::submitting && !is_submitting()) {
            if (::ptrace(PTRACE_SYSCALL, thread_, nullptr, nullptr) != 0) {
                throw SystemError("PTRACE_SYSCALL");
            }
            wait_for_stop();
        }
    }
    FrozenThread(const FrozenThread&) = delete;
    FrozenThread& operator=(const FrozenThread&) = delete;
    ~FrozenThread() {
        // One that has ended with its process waits to be seen by us.
        if (::ptrace(PTRACE_DETACH, thread_, nullptr, nullptr) != 0) {
            ::waitpid(thread_, nullptr, __WALL);
        }
    }

private:
    void wait_for_stop() const {
        int status = 0;
        if (::waitpid(thread_, &status, __WALL) != thread_ || !WIFSTOPPED(status)) {
            throw SystemError("stopping a thread");
        }
    }
    /// It stopped at the beginning of io_uring_enter(2), with requests.
    [[nodiscard]] bool is_submitting() const {
        __ptrace_syscall_info call{};
        if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread_, sizeof call, &call) < 0) {
            throw SystemError("PTRACE_GET_SYSCALL_INFO");
        }
        return call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == SYS_io_uring_enter &&
               call.entry.args[1] != 0;
    }
    static pid_t find(pid_t process, std::string_view name) {
        const std::filesystem::directory_iterator tasks(fmt::format("/proc/{}/task", process));
        pid_t found = 0;
        for (const auto& task : tasks) {
            // In the order of their start, which their numbers are not when those begin anew.
            if (is_of_the_program(task.path(), name)) found = std::stoi(task.path().filename());
        }
        if (found == 0) throw Error("process {} has no thread '{}'", process, name);
        return found;
    }
    /// And not the kernel's: io_uring's workers are called as who made them, at first.
    static bool is_of_the_program(const std::filesystem::path& task, std::string_view name) {
        // proc(5): pid (comm) state ppid pgrp session tty_nr tpgid flags
        std::string line;
        std::getline(std::ifstream(task / "stat"), line);
        const auto open = line.find('(');
        const auto close = line.rfind(')');
        if (close == std::string::npos || line.substr(open + 1, close - open - 1) != name) {
            return false;
        }
        std::istringstream rest(line.substr(close + 1));
        std::string skipped;
        for (int i = 0; i < 6; ++i) rest >> skipped;
        constexpr unsigned io_worker = 0x10;  // PF_IO_WORKER, include/linux/sched.h
        unsigned flags = 0;
        rest >> flags;
        return (flags & io_worker) == 0;
    }

    pid_t thread_;
};

}  // namespace viaduct::test
