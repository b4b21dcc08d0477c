#include "vmm/vcpu_threads.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "base/error.hpp"

namespace viaduct::vmm {
namespace {

/// Its only purpose is to end KVM_RUN.
int kick_signal() {
    return SIGRTMIN;
}

void install_kick_signal() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(kick_signal(), &action, nullptr);
}

}  // namespace

VcpuThreads::~VcpuThreads() {
    join();
}

void VcpuThreads::start(std::vector<std::unique_ptr<kvm::Vcpu>>& vcpus, OnExit on_exit,
                        OnFailure on_failure) {
    install_kick_signal();
    on_exit_ = std::move(on_exit);
    on_failure_ = std::move(on_failure);
    std::unique_lock lock(mutex_);  // no vCPU runs before all have their thread
    for (const auto& vcpu : vcpus) {
        auto runner = std::make_unique<Runner>(*this, *vcpu);
        try {
            runner->thread = std::thread([&started = *runner] { started.run(); });
        } catch (const std::system_error& failure) {
            closed_ = ending_ = true;  // nor do the others without this one
            lock.unlock();
            join();
            throw Error("no thread for vCPU {} ({}): raise `ulimit -u`, or pids.max of the cgroup",
                        vcpu->index(), failure.what());
        }
        ::pthread_setname_np(runner->thread.native_handle(),
                             fmt::format("vcpu-{}", vcpu->index()).c_str());
        runners_.push_back(std::move(runner));
    }
}

void VcpuThreads::join() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
        closed_ = true;
        kick_all();
        changed_.notify_all();
    }
    for (const auto& runner : runners_) {
        if (runner->thread.joinable()) runner->thread.join();
    }
    runners_.clear();
}

pid_t VcpuThreads::thread_id(unsigned index) const noexcept {
    return index < runners_.size() ? runners_[index]->thread_id.load() : 0;
}

void VcpuThreads::kick_all() noexcept {
    for (const auto& runner : runners_) {
        runner->vcpu_.request_exit();
        if (runner->place == Place::running) {
            ::pthread_kill(runner->thread.native_handle(), kick_signal());
        }
    }
}

void VcpuThreads::pause_soon() noexcept {
    const std::lock_guard lock(mutex_);
    ++pauses_;
    // seq_cst, and before the kick: see Vcpu::clear_exit_request().
    closed_ = true;
    kick_all();
}

void VcpuThreads::pause() {
    pause_soon();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] {
        return std::none_of(runners_.begin(), runners_.end(),
                            [](const auto& runner) { return runner->place == Place::running; });
    });
}

void VcpuThreads::resume() {
    const std::lock_guard lock(mutex_);
    if (--pauses_ == 0) {
        closed_ = ending_;
        changed_.notify_all();
    }
}

void VcpuThreads::finish_accesses() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] {
        return std::all_of(runners_.begin(), runners_.end(),
                           [](const auto& runner) { return runner->place == Place::held; });
    });
}

void VcpuThreads::move(Runner& runner, Place place) noexcept {
    const std::lock_guard lock(mutex_);
    runner.place = place;
    changed_.notify_all();
}

bool VcpuThreads::enter(Runner& runner) {
    runner.vcpu_.clear_exit_request();
    if (!closed_) return true;
    runner.complete_access();
    std::unique_lock lock(mutex_);
    runner.place = Place::held;
    changed_.notify_all();
    changed_.wait(lock, [this] { return pauses_ == 0 || ending_; });
    runner.place = Place::running;
    return !ending_;
}

// KVM finishes an access only when the vCPU is entered again, and sets the instruction pointer
// then: before that its state is not what it goes on with. One access may take several exits.
void VcpuThreads::Runner::complete_access() {
    for (;;) {
        vcpu_.request_exit();
        if (vcpu_.run() != 0) return;
        threads_.on_exit_(vcpu_);
    }
}

void VcpuThreads::Runner::run() {
    Parking::current() = this;
    thread_id = ::gettid();
    // Whoever starts the threads holds the lock until all of them are there.
    { const std::lock_guard lock(threads_.mutex_); }
    while (threads_.enter(*this)) {
        const int error = vcpu_.run();
        if (error == 0) {
            threads_.on_exit_(vcpu_);
        } else if (error != EINTR && error != EAGAIN) {
            threads_.on_failure_(vcpu_, error);
        }
    }
    threads_.move(*this, Place::held);
}

}  // namespace viaduct::vmm
