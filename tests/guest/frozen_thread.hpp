/// A thread of the program under test that stands still, as one does that waits for a device.
#pragma once

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/core.h>

#include "base/error.hpp"

namespace viaduct::test {

/// A thread that stands still while this lives; the process's others run on.
class FrozenThread {
public:
    /// The last started of that name; returns when the others have run on for a while.
    FrozenThread(pid_t process, std::string_view name, std::chrono::milliseconds a_while = {})
        : thread_(find(process, name)) {
        if (::ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr) != 0)
            throw SystemError("PTRACE_SEIZE");
        int status = 0;
        if (::ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) != 0 ||
            ::waitpid(thread_, &status, __WALL) != thread_ || !WIFSTOPPED(status)) {
            throw SystemError("stopping a thread");
        }
        std::this_thread::sleep_for(a_while);
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
    static pid_t find(pid_t process, std::string_view name) {
        const std::filesystem::directory_iterator tasks(fmt::format("/proc/{}/task", process));
        pid_t found = 0;
        for (const auto& task : tasks) {
            std::string comm;
            std::getline(std::ifstream(task.path() / "comm"), comm);
            // In the order of their start, which their numbers are not when those begin anew.
            if (comm == name) found = std::stoi(task.path().filename());
        }
        if (found == 0) throw Error("process {} has no thread '{}'", process, name);
        return found;
    }

    pid_t thread_;
};

}  // namespace viaduct::test
