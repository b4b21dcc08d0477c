#include "base/thread.hpp"

#include <csignal>

#include "base/error.hpp"

namespace viaduct {

Thread::Thread(const Options& options, const std::string& purpose, std::function<void()> body)
    : body_(std::move(body)) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, options.stack_bytes);
    sigset_t blocked;
    sigfillset(&blocked);
    // The thread's own doing: whoever handles these could not if they were blocked.
    for (const int fault : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP}) sigdelset(&blocked, fault);
    pthread_attr_setsigmask_np(&attributes, &blocked);
    const int error = pthread_create(&thread_, &attributes, run, this);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        const SystemError reason("pthread_create", error);
        throw Error("no thread for {} ({}): raise `ulimit -u`", purpose, reason.what());
    }
    joinable_ = true;
    pthread_setname_np(thread_, options.name);
}

void Thread::join() noexcept {
    if (joinable_) pthread_join(thread_, nullptr);
    joinable_ = false;
}

void* Thread::run(void* self) {
    static_cast<Thread*>(self)->body_();
    return nullptr;
}

}  // namespace viaduct
