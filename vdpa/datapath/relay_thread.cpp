#include "vdpa/datapath/relay_thread.hpp"

#include <sched.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"

namespace viaduct::datapath {
namespace {

enum Source : std::uint64_t { guest_kicked, device_called, woken };

/// Requests in flight from which on more of them come while some are carried: it pays to look again
/// before asking for notifications, and to let the others of this CPU go on first. With fewer, each
/// is waited for, and the relay is to be asleep as soon as it can.
constexpr unsigned worth_gathering = 4;

void watch(const Fd& epoll, const EventFd& event, Source source) {
    epoll_event interest{};
    interest.events = EPOLLIN | EPOLLET;
    interest.data.u64 = source;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.fd(), &interest) != 0) {
        throw SystemError("epoll_ctl for a relay");
    }
}

Fd watch_all(const RelayThreadSetup& setup, const EventFd& wake) {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) throw SystemError("epoll_create1 for a relay");
    const timespec at_once{};
    epoll_event event{};
    if (::epoll_pwait2(epoll.get(), &event, 1, &at_once, nullptr) < 0) {
        throw Error("the slow path needs Linux 5.11 or newer: {}",
                    SystemError("epoll_pwait2", errno).what());
    }
    watch(epoll, setup.guest_kick, guest_kicked);
    watch(epoll, setup.device_call, device_called);
    watch(epoll, wake, woken);
    return epoll;
}

timespec as_timespec(std::chrono::nanoseconds time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    return {seconds.count(), (time - seconds).count()};
}

void relax_processor() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

RelayThread::RelayThread(const RelaySetup& relay, RelayThreadSetup setup)
    : relay_(relay),
      setup_(std::move(setup)),
      statistics_(relay.statistics),
      known_to_throttle_(relay.throttle, wake_),
      epoll_(watch_all(setup_, wake_)),
      thread_({.name = "relay"}, setup_.name, [this] { run(); }) {}

RelayThread::~RelayThread() {
    order(Order::end);
    thread_.join();
}

void RelayThread::order(Order order) {
    {
        const std::lock_guard lock(mutex_);
        rested_ = false;
        // release: what the orderer did before, the thread finds done.
        order_.store(order, std::memory_order_release);
    }
    wake_.signal();
}

bool RelayThread::wait_for_rest(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return rested_changed_.wait_until(lock, deadline, [this] { return rested_; });
}

void RelayThread::run() noexcept {
    relay_.take_over();
    auto now = Clock::now();
    while (true) {
        obey(now);
        if (obeyed_ == Order::end) return;
        const bool completed = relay_.complete(now);
        const bool forwarded = relay_.forward(now);
        if (kicked_ && !forwarded) statistics_.spurious_kicks.add();
        kicked_ = false;
        report_faults();
        if (looks_again(completed || forwarded, now) || relay_.prepare_to_sleep()) {
            now = Clock::now();
            continue;
        }
        report_rest();
        now = sleep(now);
        relay_.woken();
    }
}

void RelayThread::obey(Clock::time_point now) noexcept {
    const Order order = order_.load(std::memory_order_acquire);
    if (order == obeyed_) return;
    obeyed_ = order;
    if (order == Order::run) {
        relay_.go_on();
        return;
    }
    relay_.pause();
    // On hold too: what was taken from the guest's ring is handed back by the device, or lost.
    if (order == Order::leave || order == Order::hold) relay_.forward_held(now);
    if (order == Order::discard) relay_.discard_held();
}

void RelayThread::report_rest() noexcept {
    if (obeyed_ == Order::run || (obeyed_ != Order::hold && relay_.in_flight() != 0)) return;
    const std::lock_guard lock(mutex_);
    // Not if another order came meanwhile: that one is not carried out yet.
    if (order_.load(std::memory_order_relaxed) != obeyed_) return;
    rested_ = true;
    rested_changed_.notify_all();
}

void RelayThread::report_faults() noexcept {
    if (relay_.guest_fault() && !guest_fault_reported_) {
        guest_fault_reported_ = true;
        setup_.on_guest_fault(*relay_.guest_fault());
    }
    if (relay_.device_fault() && !device_fault_reported_) {
        device_fault_reported_ = true;
        setup_.on_device_fault(*relay_.device_fault());
    }
}

bool RelayThread::looks_again(bool moved, Clock::time_point now) noexcept {
    if (moved) {
        poll_until_ = now + poll_;
        if (relay_.in_flight() < worth_gathering) return poll_ != poll_.zero();
        // Whoever shares this CPU brings more before long, and need not wake the relay for each.
        ::sched_yield();
        return true;
    }
    if (poll_ == poll_.zero() || now >= poll_until_ || obeyed_ != Order::run) return false;
    relax_processor();
    return true;
}

RelayThread::Clock::time_point RelayThread::sleep(Clock::time_point before) noexcept {
    timespec limit{};
    const timespec* timeout = nullptr;
    if (const auto when = relay_.next_try(); when && obeyed_ == Order::run) {
        limit = as_timespec(std::max(*when - before, Clock::duration::zero()));
        timeout = &limit;
    }
    std::array<epoll_event, 3> events{};
    const int count = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                     timeout, nullptr);
    for (int i = 0; i < count; ++i) {
        switch (events[static_cast<std::size_t>(i)].data.u64) {
            case guest_kicked:
                statistics_.kicks.add();
                kicked_ = true;
                break;
            case device_called:
                statistics_.device_calls.add();
                break;
            default:
                break;
        }
    }
    const auto after = Clock::now();
    adapt_poll(after - before);
    return after;
}

void RelayThread::adapt_poll(Clock::duration slept) noexcept {
    // To look for twice as long would have caught it; or it would have been in vain.
    poll_ = slept <= setup_.longest_poll ? std::min<Clock::duration>(2 * slept, setup_.longest_poll)
                                         : poll_ / 2;
}

}  // namespace viaduct::datapath
