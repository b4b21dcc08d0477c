/// A vCPU thread that waits for somebody else counts as paused: it runs no guest code, so whoever
/// wants the vCPUs to stand still need not wait for it, and may be the very one it waits for.
///
/// The owner of the vCPU threads implements Parking and installs it for each of them; everything
/// below only says when a wait begins and ends. Threads without one are not concerned.
#pragma once

#include <mutex>

namespace viaduct {

class Parking {
public:
    virtual ~Parking() = default;
    virtual void park() noexcept = 0;
    virtual void unpark() noexcept = 0;

    /// The calling thread's own, or null.
    static Parking*& current() noexcept {
        thread_local Parking* parking = nullptr;
        return parking;
    }
};

/// The calling thread waits while this lives.
class Parked {
public:
    Parked() noexcept : parking_(Parking::current()) {
        if (parking_ != nullptr) parking_->park();
    }
    Parked(const Parked&) = delete;
    Parked& operator=(const Parked&) = delete;
    ~Parked() {
        if (parking_ != nullptr) parking_->unpark();
    }

private:
    Parking* parking_;
};

/// A mutex that may be held across a wait for a device: whoever waits for it counts as paused too.
/// Meets Lockable.
class ParkingMutex {
public:
    void lock() {
        if (mutex_.try_lock()) return;
        const Parked parked;
        mutex_.lock();
    }
    bool try_lock() { return mutex_.try_lock(); }
    void unlock() { mutex_.unlock(); }

private:
    std::mutex mutex_;
};

}  // namespace viaduct
