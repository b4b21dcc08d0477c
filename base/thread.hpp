/// A thread that serves a queue: a small stack, no signals but those of its own faults (the others
/// are others' business), a name that ps(1) and perf(1) show, and one owner, who joins it.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <functional>
#include <string>

namespace viaduct {

class Thread {
public:
    struct Options {
        const char* name = "";                              // 15 characters at most
        std::size_t stack_bytes = std::size_t{128} * 1024;  // a line of the log fits
    };

    /// Starts it. Throws Error, naming `purpose`, when there is no thread to be had.
    Thread(const Options& options, const std::string& purpose, std::function<void()> body);
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;
    ~Thread() { join(); }

    /// Waits for its end; once is enough.
    void join() noexcept;

private:
    static void* run(void* self);

    std::function<void()> body_;
    pthread_t thread_{};
    bool joinable_ = false;
};

}  // namespace viaduct
