#include "tests/bench/echo_device.hpp"

#include <sys/epoll.h>

#include "base/error.hpp"

namespace viaduct::bench {

EdgeWait::EdgeWait(const EventFd& event) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event interest{};
    interest.events = EPOLLIN | EPOLLET;
    if (!epoll_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event.fd(), &interest) != 0) {
        throw SystemError("epoll for an eventfd");
    }
}

void EdgeWait::wait() const noexcept {
    epoll_event woken{};
    while (::epoll_wait(epoll_.get(), &woken, 1, -1) < 1) {
    }
}

Woken::Woken(std::function<void()> work)
    : wait_(event_), thread_({.name = "woken"}, "a benchmark", [this, work = std::move(work)] {
          while (true) {
              wait_.wait();
              if (ends_) return;
              work();
          }
      }) {}

Woken::~Woken() {
    ends_ = true;
    event_.signal();
}

EchoDevice::EchoDevice(const virtio::SplitRing& ring, const EventFd& call, std::uint32_t written)
    : ring_(ring, true, virtio::RingIndex(0)),
      call_(call),
      written_(written),
      woken_([this] { serve(); }) {}

void EchoDevice::serve() noexcept {
    ring_.suppress_kicks();
    do {
        for (auto count = ring_.available().value_or(0); count > 0; --count) {
            ring_.put_used(ring_.head(), written_);
            ring_.take();
        }
        if (ring_.has_unpublished() && ring_.publish_used()) call_.signal();
    } while (ring_.request_kicks());
}

}  // namespace viaduct::bench
