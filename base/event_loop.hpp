/// A thread that runs one thing at a time: tasks given to it, and callbacks of descriptors that
/// became readable (epoll(7)). Whatever only ever runs here needs no lock.
#pragma once

#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/event_fd.hpp"
#include "base/fd.hpp"
#include "base/parking.hpp"

namespace viaduct {

class EventLoop {
public:
    using Task = std::function<void()>;

    /// Starts the thread; `name` (15 characters at most) is what ps(1) and perf(1) show.
    explicit EventLoop(const std::string& name);
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    /// Runs what was posted, then ends the thread.
    ~EventLoop();

    /// Runs `task` on the loop's thread, soon.
    void post(Task task);

    /// Runs `task` on the loop's thread and waits for its result; its exception travels back. On
    /// the loop's own thread it runs at once. A vCPU that waits here counts as paused.
    template <typename F>
    auto call(F&& task) -> std::invoke_result_t<F> {
        if (std::this_thread::get_id() == thread_.get_id()) return task();
        std::packaged_task<std::invoke_result_t<F>()> packaged(std::forward<F>(task));
        auto result = packaged.get_future();
        post([&packaged] { packaged(); });
        const Parked parked;
        return result.get();
    }

    /// Calls `on_readable` on the loop's thread each time `fd` is found readable (level-triggered:
    /// the callback consumes). The descriptor stays the caller's and must outlive the watch.
    void watch(int fd, Task on_readable);
    /// When it returns the callback neither runs nor will run; a callback may unwatch itself.
    void unwatch(int fd);

private:
    void run();
    void run_tasks();

    Fd epoll_;
    EventFd wake_;
    std::mutex mutex_;
    std::deque<Task> tasks_;                                  // guarded by mutex_
    bool ending_ = false;                                     // guarded by mutex_
    std::unordered_map<int, std::shared_ptr<Task>> watches_;  // the loop's thread only
    std::thread thread_;
};

}  // namespace viaduct
