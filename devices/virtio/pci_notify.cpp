#include "devices/virtio/pci_notify.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/log.hpp"
#include "devices/virtio/pci_layout.hpp"

namespace viaduct::virtio {

PciNotify::PciNotify(Device& device, devices::Doorbells& doorbells, unsigned queues,
                     std::string name)
    : device_(device), doorbells_(doorbells), name_(std::move(name)), queues_(queues) {
    device_.set_doorbell_listener([this] { refresh(); });
}

void PciNotify::move(std::optional<Gpa> address) noexcept {
    const std::lock_guard lock(mutex_);
    for (Queue& queue : queues_) {
        queue.page.reset();
        queue.eventfd.reset();
    }
    address_ = address;
    for (unsigned i = 0; i < queues_.size(); ++i) connect(i);
}

void PciNotify::start(std::span<const QueueSetup> queues) noexcept {
    const std::lock_guard lock(mutex_);
    for (unsigned i = 0; i < queues_.size() && i < queues.size(); ++i) {
        if (!queues[i].enabled) continue;
        queues_[i].wanted = true;
        queues_[i].runs = true;
        queues_[i].doorbell = device_.doorbell_page(i);
        connect(i);
    }
}

void PciNotify::stop() noexcept {
    const std::lock_guard lock(mutex_);
    for (Queue& queue : queues_) {
        queue.runs = false;
        queue.doorbell = {};
        queue.page.reset();
    }
}

void PciNotify::refresh() noexcept {
    const std::lock_guard lock(mutex_);
    for (unsigned i = 0; i < queues_.size(); ++i) {
        Queue& queue = queues_[i];
        if (!queue.runs) continue;
        queue.doorbell = device_.doorbell_page(i);
        if (queue.doorbell.empty()) queue.page.reset();
        connect(i);
    }
}

void PciNotify::reset() noexcept {
    const std::lock_guard lock(mutex_);
    for (Queue& queue : queues_) queue = {};
}

void PciNotify::connect(unsigned index) noexcept {
    Queue& queue = queues_[index];
    if (!address_ || !queue.wanted) return;
    const Gpa address = *address_ + std::uint64_t{index} * notify_stride();
    try {
        if (!queue.doorbell.empty() && !queue.page) {
            queue.page = doorbells_.map_page(address, queue.doorbell);
        }
    } catch (const std::exception& failure) {
        report(index, "an eventfd", failure);
    }
    // A mapped page hides the eventfd behind it, so one that is there may stay.
    if (queue.page || queue.eventfd) return;
    try {
        queue.eventfd = doorbells_.attach(address, device_.guest_kick(index));
    } catch (const std::exception& failure) {
        report(index, "the VMM", failure);
    }
}

void PciNotify::report(unsigned index, const char* instead,
                       const std::exception& failure) noexcept {
    if (std::exchange(reported_, true)) return;
    log::warning("{}: queue {} notifies through {}: {}", name_, index, instead, failure.what());
}

void PciNotify::read(std::uint64_t /*offset*/, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
}

void PciNotify::write(std::uint64_t offset, std::span<const std::byte> /*bytes*/) noexcept {
    const std::uint64_t queue = offset / notify_stride();
    if (offset % notify_stride() != 0 || queue >= queues_.size()) return;
    device_.guest_kick(static_cast<unsigned>(queue)).signal();
}

}  // namespace viaduct::virtio
