#include "tests/support/vm_process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.hpp"

extern char** environ;  // NOLINT: POSIX names and shapes it so

namespace viaduct::test {
namespace {

constexpr auto poll_interval = std::chrono::milliseconds(2);

std::string read_file(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

int decode(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, Seconds deadline)
    : deadline_(std::chrono::steady_clock::now() +
                std::chrono::duration_cast<std::chrono::steady_clock::duration>(deadline)) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& argument : command) {
        arguments.push_back(const_cast<char*>(argument.c_str()));  // execve takes no const
    }
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    const int mode = O_WRONLY | O_CREAT | O_TRUNC;
    ::posix_spawn_file_actions_addopen(&files, 1, directory_.path("out").c_str(), mode, 0600);
    ::posix_spawn_file_actions_addopen(&files, 2, directory_.path("err").c_str(), mode, 0600);
    const int error =
        ::posix_spawnp(&pid_, arguments[0], &files, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    if (error != 0) throw SystemError("cannot start " + command.front(), error);
}

Process::~Process() {
    if (ended_) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

void Process::send_signal(int signal) const {
    ::kill(pid_, signal);
}

std::string Process::out() const {
    return read_file(directory_.path("out"));
}

std::string Process::err() const {
    return read_file(directory_.path("err"));
}

bool Process::running() const {
    siginfo_t state{};
    // Looks without reaping: wait() still has to find it.
    ::waitid(P_PID, static_cast<id_t>(pid_), &state, WEXITED | WNOHANG | WNOWAIT);
    return !ended_ && state.si_pid != pid_;
}

bool Process::wait_for_output(const std::string& text, Seconds deadline) const {
    const auto end = std::chrono::steady_clock::now() + deadline;
    while (std::chrono::steady_clock::now() < end) {
        if (out().find(text) != std::string::npos) return true;
        if (!running()) return out().find(text) != std::string::npos;
        std::this_thread::sleep_for(poll_interval);
    }
    return false;
}

Outcome Process::wait() {
    Outcome outcome;
    int status = 0;
    bool killed = false;
    while (::waitpid(pid_, &status, killed ? 0 : WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() >= deadline_) {
            ::kill(pid_, SIGKILL);
            killed = true;
        } else {
            std::this_thread::sleep_for(poll_interval);
        }
    }
    ended_ = true;
    outcome.status = killed ? -1 : decode(status);
    outcome.out = out();
    outcome.err = err();
    if (killed) outcome.err += "\n(killed: it did not end in time)";
    return outcome;
}

Outcome run(const std::vector<std::string>& command, Seconds deadline) {
    return Process(command, deadline).wait();
}

std::string viaduct_program() {
    return VIADUCT_PROGRAM;
}
std::string probe_image() {
    return VIADUCT_PROBE;
}
std::string probe64_image() {
    return VIADUCT_PROBE64;
}

void make_pattern_image(const std::string& path, std::uint64_t bytes) {
    constexpr std::uint64_t sector = 512;
    std::ofstream file(path, std::ios::binary);
    for (std::uint64_t number = 0; number < bytes / sector; ++number) {
        file << std::string(sector, static_cast<char>((number + 1) % 251));
    }
}

}  // namespace viaduct::test
