/// The threads that run the vCPUs, and the gate that holds them: pause() stops all of them outside
/// the guest, however many ask for it and whatever a vCPU is doing. A vCPU whose thread waits for a
/// device (base/parking.hpp) counts as paused; it meets the gate before it enters the guest again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/parking.hpp"
#include "vdpa/datapath/vcpu_gate.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace viaduct::vmm {

class VcpuThreads final : public datapath::VcpuGate {
public:
    /// Called on a vCPU's thread after each KVM_RUN that returned 0.
    using OnExit = std::function<void(kvm::Vcpu&)>;
    /// Called on a vCPU's thread when KVM_RUN failed; the vCPU is held after it.
    using OnFailure = std::function<void(kvm::Vcpu&, int error)>;

    VcpuThreads() = default;
    VcpuThreads(const VcpuThreads&) = delete;
    VcpuThreads& operator=(const VcpuThreads&) = delete;
    /// Ends the threads.
    ~VcpuThreads() override;

    /// Starts one thread per vCPU, held if pause() was called before. Throws Error when there is no
    /// thread to be had; then none is left, and no vCPU has run.
    void start(std::vector<std::unique_ptr<kvm::Vcpu>>& vcpus, OnExit on_exit,
               OnFailure on_failure);
    /// Ends the threads; the vCPUs stay as they are.
    void join();

    /// As gettid(2) in the vCPU's thread; 0 before it started.
    [[nodiscard]] pid_t thread_id(unsigned index) const noexcept;

    void pause() override;
    void resume() override;
    /// Between pause() and resume(): waits until no vCPU is inside an access any more, not even one
    /// that waits for a device. Whoever writes a vCPU's state does this first.
    void finish_accesses();
    /// As pause(), without waiting: what a vCPU's own thread may call. The calling vCPU does not
    /// enter the guest again before resume().
    void pause_soon() noexcept;

private:
    enum class Place { running, held, parked };

    class Runner final : public Parking {
    public:
        Runner(VcpuThreads& threads, kvm::Vcpu& vcpu) : threads_(threads), vcpu_(vcpu) {}
        void park() noexcept override { threads_.move(*this, Place::parked); }
        void unpark() noexcept override { threads_.move(*this, Place::running); }
        void run();
        void complete_access();

        std::thread thread;
        Place place = Place::running;  // guarded by VcpuThreads::mutex_
        std::atomic<pid_t> thread_id = 0;

    private:
        friend class VcpuThreads;
        VcpuThreads& threads_;
        kvm::Vcpu& vcpu_;
    };

    void move(Runner& runner, Place place) noexcept;
    [[nodiscard]] bool enter(Runner& runner);
    void kick_all() noexcept;

    OnExit on_exit_;
    OnFailure on_failure_;
    std::vector<std::unique_ptr<Runner>> runners_;
    std::mutex mutex_;
    std::condition_variable changed_;
    unsigned pauses_ = 0;  // guarded by mutex_
    bool ending_ = false;  // guarded by mutex_
    /// pauses_ != 0 || ending_, for a look without the lock before each KVM_RUN.
    std::atomic<bool> closed_ = false;
};

}  // namespace viaduct::vmm
