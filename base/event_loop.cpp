#include "base/event_loop.hpp"

#include <pthread.h>
#include <sys/epoll.h>

#include <array>

#include "base/error.hpp"

namespace viaduct {
namespace {

void add_to_epoll(int epoll, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) throw SystemError("epoll_ctl");
}

}  // namespace

EventLoop::EventLoop(const std::string& name) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) throw SystemError("epoll_create1");
    add_to_epoll(epoll_.get(), wake_.fd());
    thread_ = std::thread([this] { run(); });
    ::pthread_setname_np(thread_.native_handle(), name.c_str());
}

EventLoop::~EventLoop() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    wake_.signal();
    thread_.join();
}

void EventLoop::post(Task task) {
    {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    wake_.signal();
}

void EventLoop::watch(int fd, Task on_readable) {
    call([&] {
        add_to_epoll(epoll_.get(), fd);
        watches_[fd] = std::make_shared<Task>(std::move(on_readable));
    });
}

void EventLoop::unwatch(int fd) {
    call([&] {
        if (watches_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    });
}

void EventLoop::run_tasks() {
    std::deque<Task> tasks;
    {
        const std::lock_guard lock(mutex_);
        tasks.swap(tasks_);
    }
    for (Task& task : tasks) task();
}

void EventLoop::run() {
    std::array<epoll_event, 16> events{};
    while (true) {
        {
            const std::lock_guard lock(mutex_);
            if (ending_ && tasks_.empty()) return;
        }
        const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events.at(static_cast<std::size_t>(i)).data.fd;
            if (fd == wake_.fd()) {
                (void)wake_.take();
                run_tasks();
            } else if (auto found = watches_.find(fd); found != watches_.end()) {
                const auto keep = found->second;  // the callback may unwatch itself
                (*keep)();
            }
        }
    }
}

}  // namespace viaduct
