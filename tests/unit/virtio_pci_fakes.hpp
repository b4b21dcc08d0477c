/// What stands around a PCI function in the unit tests: an interrupt controller, doorbells and a
/// line that record, and a virtio device that does as it is told.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "devices/doorbells.hpp"
#include "devices/interrupts.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::test {

/// For tests that make the program warn.
class QuietLog {
public:
    QuietLog() { log::set_level(log::Level::off); }
    QuietLog(const QuietLog&) = delete;
    QuietLog& operator=(const QuietLog&) = delete;
    ~QuietLog() { log::set_level(log::Level::warning); }
};

/// Does what KVM's irqfds do: an attached eventfd is consumed and sends its route's message, one
/// that was pending at attach() at once. What arrives while attached is sent by deliver().
class FakeRouter final : public devices::MsiRouter {
public:
    std::unique_ptr<devices::MsiRoute> route(std::uint16_t bdf) override {
        const std::lock_guard lock(mutex_);
        if (out_of_routes) throw std::runtime_error("no route left");
        last_bdf = bdf;
        ++routes_made;
        return std::make_unique<Route>(*this);
    }

    void deliver() {
        const std::lock_guard lock(mutex_);
        for (Route* route : routes_) {
            for (const EventFd* source : route->sources) {
                if (source->take()) sent_.push_back(route->message);
            }
        }
    }
    [[nodiscard]] std::vector<devices::MsiMessage> take_sent() {
        deliver();
        const std::lock_guard lock(mutex_);
        return std::exchange(sent_, {});
    }
    [[nodiscard]] std::size_t attached() {
        const std::lock_guard lock(mutex_);
        std::size_t count = 0;
        for (const Route* route : routes_) count += route->sources.size();
        return count;
    }
    [[nodiscard]] std::size_t live_routes() {
        const std::lock_guard lock(mutex_);
        return routes_.size();
    }

    bool out_of_routes = false;
    std::uint16_t last_bdf = 0;
    unsigned routes_made = 0;
    std::atomic<unsigned> updates = 0;

private:
    struct Route final : devices::MsiRoute {
        explicit Route(FakeRouter& owner) : router(owner) { router.routes_.insert(this); }
        Route(const Route&) = delete;
        Route& operator=(const Route&) = delete;
        ~Route() override {
            const std::lock_guard lock(router.mutex_);
            router.routes_.erase(this);
        }
        void update(const devices::MsiMessage& wanted) override {
            const std::lock_guard lock(router.mutex_);
            ++router.updates;
            message = wanted;
        }
        void attach(const EventFd& source) override {
            const std::lock_guard lock(router.mutex_);
            if (!sources.insert(&source).second) throw std::logic_error("attached twice");
            if (source.take()) router.sent_.push_back(message);
        }
        void detach(const EventFd& source) override {
            const std::lock_guard lock(router.mutex_);
            if (sources.erase(&source) == 0) throw std::logic_error("detached, never attached");
        }
        void signal() noexcept override {
            const std::lock_guard lock(router.mutex_);
            router.sent_.push_back(message);
        }
        FakeRouter& router;
        devices::MsiMessage message;
        std::set<const EventFd*> sources;
    };

    std::mutex mutex_;
    std::set<Route*> routes_;
    std::vector<devices::MsiMessage> sent_;
};

class FakeDoorbells final : public devices::Doorbells {
public:
    std::unique_ptr<Registration> attach(Gpa address, const EventFd& kick) override {
        const std::lock_guard lock(mutex_);
        if (refuse) throw std::runtime_error("no doorbell left");
        ++made;
        return std::make_unique<Entry<const EventFd*>>(mutex_, eventfds_, address, &kick);
    }
    std::unique_ptr<Registration> map_page(Gpa address, std::span<std::byte> page) override {
        const std::lock_guard lock(mutex_);
        if (refuse_pages) throw std::runtime_error("no memory slot left");
        ++made;
        return std::make_unique<Entry<std::byte*>>(mutex_, pages_, address, page.data());
    }

    /// What a guest's store to `address` does: false when it would come to the VMM.
    bool ring(Gpa address) {
        const std::lock_guard lock(mutex_);
        if (auto page = pages_.find(address); page != pages_.end()) {
            *page->second = std::byte{1};
            return true;
        }
        auto found = eventfds_.find(address);
        if (found == eventfds_.end()) return false;
        found->second->signal();
        return true;
    }
    [[nodiscard]] std::size_t eventfds() {
        const std::lock_guard lock(mutex_);
        return eventfds_.size();
    }
    [[nodiscard]] std::size_t pages() {
        const std::lock_guard lock(mutex_);
        return pages_.size();
    }

    bool refuse = false;
    bool refuse_pages = false;
    unsigned made = 0;

private:
    template <typename Target>
    struct Entry final : Registration {
        Entry(std::mutex& guard, std::map<Gpa, Target>& table, Gpa at, Target target)
            : mutex(guard), entries(table), address(at) {
            if (!entries.emplace(at, target).second) throw std::logic_error("registered twice");
        }
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;
        ~Entry() override {
            const std::lock_guard lock(mutex);
            entries.erase(address);
        }
        std::mutex& mutex;
        std::map<Gpa, Target>& entries;
        Gpa address;
    };

    std::mutex mutex_;
    std::map<Gpa, const EventFd*> eventfds_;
    std::map<Gpa, std::byte*> pages_;
};

class FakeLine final : public devices::InterruptLine {
public:
    void set(bool asserted) noexcept override {
        changes += asserted != high.load() ? 1 : 0;
        high = asserted;
    }
    std::atomic<bool> high = false;
    std::atomic<unsigned> changes = 0;
};

/// Two queues of at most 256 entries and eleven bytes of configuration, unless told otherwise.
class FakeDevice final : public virtio::Device {
public:
    explicit FakeDevice(unsigned queues = 2) : kicks_(queues), calls_(queues) {}

    std::uint32_t device_id() const noexcept override { return id; }
    void set_doorbell_listener(std::function<void()> listener) override {
        doorbell_listener = std::move(listener);
    }
    std::uint64_t offered_features() const noexcept override { return features; }
    unsigned queue_count() const noexcept override { return static_cast<unsigned>(kicks_.size()); }
    std::uint16_t max_queue_size(unsigned queue) const noexcept override {
        return queue == absent_queue ? 0 : 256;
    }
    std::uint32_t config_size() const noexcept override {
        return static_cast<std::uint32_t>(config.size());
    }
    void read_config(std::uint32_t offset, std::span<std::byte> bytes) noexcept override {
        const std::lock_guard lock(mutex);
        config_reads.emplace_back(offset, bytes.size());
        if (offset + bytes.size() > config.size()) return (void)++out_of_bounds;
        std::copy_n(config.begin() + offset, bytes.size(), bytes.begin());
    }
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) noexcept override {
        const std::lock_guard lock(mutex);
        config_writes.emplace_back(offset, std::vector(bytes.begin(), bytes.end()));
        if (offset + bytes.size() > config.size()) return (void)++out_of_bounds;
        std::copy_n(bytes.begin(), bytes.size(), config.begin() + offset);
    }
    bool accept_features(std::uint64_t accepted) noexcept override {
        accepted_features = accepted;
        return accepts;
    }
    bool start(std::span<const virtio::QueueSetup> queues) noexcept override {
        started.assign(queues.begin(), queues.end());
        ++starts;
        if (on_start) on_start();
        return starts_well;
    }
    void reset() noexcept override {
        ++resets;
        broken = false;
        if (on_reset) on_reset();
    }
    bool needs_reset() const noexcept override { return broken; }
    const EventFd& guest_kick(unsigned queue) const noexcept override { return kicks_[queue]; }
    const EventFd& guest_call(unsigned queue) const noexcept override { return calls_[queue]; }
    const EventFd& config_call() const noexcept override { return config_call_; }
    std::span<std::byte> doorbell_page(unsigned queue) const noexcept override {
        return doorbells.empty() ? std::span<std::byte>{} : std::span(doorbells[queue]);
    }

    std::uint32_t id = virtio::device_id::block;
    std::uint64_t features = virtio::feature::version_1 | virtio::feature::access_platform | 1;
    unsigned absent_queue = ~0U;
    std::vector<std::byte> config = std::vector<std::byte>(11, std::byte{0xa5});
    bool accepts = true;
    bool starts_well = true;
    std::function<void()> on_start;
    std::function<void()> on_reset;
    std::function<void()> doorbell_listener;
    mutable std::vector<std::vector<std::byte>> doorbells;

    std::atomic<bool> broken = false;
    std::atomic<unsigned> starts = 0;
    std::atomic<unsigned> resets = 0;
    std::uint64_t accepted_features = 0;
    std::vector<virtio::QueueSetup> started;
    std::mutex mutex;
    unsigned out_of_bounds = 0;
    std::vector<std::pair<std::uint32_t, std::size_t>> config_reads;
    std::vector<std::pair<std::uint32_t, std::vector<std::byte>>> config_writes;

private:
    std::vector<EventFd> kicks_;
    std::vector<EventFd> calls_;
    EventFd config_call_;
};

}  // namespace viaduct::test
