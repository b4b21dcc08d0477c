#include "tests/bench/timed_child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/error.hpp"

extern char** environ;  // NOLINT: POSIX names and shapes it so

namespace viaduct::bench {
namespace {

constexpr auto patience = std::chrono::seconds(60);

Milliseconds to_milliseconds(const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

TimedChild::TimedChild(const Command& command) : name_(command.front()) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw SystemError("pipe");
    pipe_ = Fd(ends[0]);
    const Fd written(ends[1]);
    std::vector<char*> arguments;
    for (const std::string& argument : command) {
        arguments.push_back(const_cast<char*>(argument.c_str()));  // execve takes no const
    }
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files, written.get(), 1);
    start_ = Clock::now();
    const int error =
        ::posix_spawnp(&pid_, arguments[0], &files, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    if (error != 0) throw SystemError("cannot start " + name_, error);
}

TimedChild::~TimedChild() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

bool TimedChild::read_some() {
    pollfd readable{pipe_.get(), POLLIN, 0};
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
    if (::poll(&readable, 1, static_cast<int>(limit)) == 0) {
        throw Error("{} was silent for {} s; it said: {}", name_, patience.count(), output_);
    }
    std::array<char, 4096> bytes{};
    const auto count = ::read(pipe_.get(), bytes.data(), bytes.size());
    if (count <= 0) return false;
    if (output_.empty()) first_output_ = Clock::now() - start_;
    output_.append(bytes.data(), static_cast<std::size_t>(count));
    return true;
}

void TimedChild::wait_for_output(const std::string& text) {
    while (output_.find(text) == std::string::npos) {
        if (!read_some()) throw Error("{} ended without '{}'; it said: {}", name_, text, output_);
    }
}

int TimedChild::wait() {
    while (read_some()) {
    }
    int status = 0;
    rusage usage{};
    ::wait4(pid_, &status, 0, &usage);
    lifetime_ = Clock::now() - start_;
    cpu_time_ = to_milliseconds(usage.ru_utime) + to_milliseconds(usage.ru_stime);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace viaduct::bench
