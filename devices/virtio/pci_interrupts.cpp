#include "devices/virtio/pci_interrupts.hpp"

#include <linux/virtio_pci.h>

#include <exception>
#include <utility>

#include "base/log.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::virtio {
namespace {

constexpr std::uint8_t isr_queue = 1;
constexpr std::uint8_t isr_config = VIRTIO_PCI_ISR_CONFIG;

}  // namespace

PciInterrupts::PciInterrupts(Device& device, pci::Msix& msix, devices::InterruptLine& line,
                             EventLoop& loop, unsigned queues)
    : device_(device),
      msix_(msix),
      line_(line),
      loop_(loop),
      queues_(queues, Queue{no_vector, false}),
      config_vector_(no_vector) {}

PciInterrupts::~PciInterrupts() {
    reset();
}

std::uint16_t PciInterrupts::known_vector(std::uint16_t vector) const noexcept {
    return vector < msix_.vectors() ? vector : no_vector;
}

std::uint16_t PciInterrupts::config_vector() const noexcept {
    const std::lock_guard lock(mutex_);
    return config_vector_;
}

std::uint16_t PciInterrupts::queue_vector(unsigned queue) const noexcept {
    const std::lock_guard lock(mutex_);
    return queue < queues_.size() ? queues_[queue].vector : no_vector;
}

void PciInterrupts::set_config_vector(std::uint16_t vector) noexcept {
    const std::lock_guard lock(mutex_);
    config_vector_ = known_vector(vector);
}

void PciInterrupts::set_queue_vector(unsigned queue, std::uint16_t vector) noexcept {
    if (queue >= queues_.size()) return;
    const std::lock_guard mode(mode_mutex_);
    const bool rebind = msix_enabled_ && queues_[queue].running;
    if (rebind) disconnect(queue);
    {
        const std::lock_guard lock(mutex_);
        queues_[queue].vector = known_vector(vector);
    }
    if (rebind) connect(queue);
}

void PciInterrupts::start(std::span<const QueueSetup> queues) noexcept {
    const std::lock_guard mode(mode_mutex_);
    for (unsigned i = 0; i < queues_.size() && i < queues.size(); ++i) {
        if (!queues[i].enabled || queues_[i].running) continue;
        queues_[i].running = true;
        connect(i);
    }
}

void PciInterrupts::reset() noexcept {
    const std::lock_guard mode(mode_mutex_);
    for (unsigned i = 0; i < queues_.size(); ++i) {
        if (!queues_[i].running) continue;
        disconnect(i);
        queues_[i].running = false;
        (void)device_.guest_call(i).take();  // nobody waits for it any more
    }
    const std::lock_guard lock(mutex_);
    for (Queue& queue : queues_) queue.vector = no_vector;
    config_vector_ = no_vector;
    isr_ = 0;
    update_line();
}

void PciInterrupts::connect(unsigned queue) noexcept {
    const EventFd& call = device_.guest_call(queue);
    if (msix_enabled_) {
        msix_.bind(queues_[queue].vector, call);
        return;
    }
    try {
        loop_.watch(call.fd(), [this, queue] { queue_used(queue); });
    } catch (const std::exception& failure) {
        log::error("interrupts of queue {} are lost: {}", queue, failure.what());
    }
}

void PciInterrupts::disconnect(unsigned queue) noexcept {
    const EventFd& call = device_.guest_call(queue);
    if (msix_enabled_) {
        msix_.unbind(queues_[queue].vector, call);
    } else {
        loop_.unwatch(call.fd());
    }
}

void PciInterrupts::set_msix_control(bool enabled, bool function_masked) noexcept {
    const std::lock_guard mode(mode_mutex_);
    if (enabled == msix_enabled_) {
        msix_.set_control(enabled, function_masked);
    } else if (enabled) {
        enter_msix(function_masked);
    } else {
        enter_intx();
    }
}

void PciInterrupts::enter_msix(bool function_masked) noexcept {
    std::vector<unsigned> running;
    for (unsigned i = 0; i < queues_.size(); ++i) {
        if (queues_[i].running) running.push_back(i);
    }
    for (const unsigned queue : running) disconnect(queue);
    bool unread_queue = false;
    {
        const std::lock_guard lock(mutex_);
        msix_enabled_ = true;
        unread_queue = (isr_ & isr_queue) != 0;
        isr_ &= isr_config;
        update_line();
    }
    // What the guest has not read from ISR by now it may never read: it is told again, by vector.
    for (const unsigned queue : running) {
        if (unread_queue) device_.guest_call(queue).signal();
        connect(queue);
    }
    msix_.set_control(true, function_masked);
    std::uint16_t unread_config = no_vector;
    {
        const std::lock_guard lock(mutex_);
        if ((isr_ & isr_config) != 0) unread_config = config_vector_;
    }
    msix_.signal(unread_config);
}

void PciInterrupts::enter_intx() noexcept {
    for (unsigned i = 0; i < queues_.size(); ++i) {
        if (queues_[i].running) disconnect(i);
    }
    msix_.set_control(false, false);
    {
        const std::lock_guard lock(mutex_);
        msix_enabled_ = false;
        update_line();
    }
    for (unsigned i = 0; i < queues_.size(); ++i) {
        if (queues_[i].running) connect(i);
    }
}

void PciInterrupts::set_intx_disabled(bool disabled) noexcept {
    const std::lock_guard lock(mutex_);
    intx_disabled_ = disabled;
    update_line();
}

bool PciInterrupts::msix_enabled() const noexcept {
    const std::lock_guard lock(mutex_);
    return msix_enabled_;
}

void PciInterrupts::config_changed() noexcept {
    std::uint16_t vector = no_vector;
    {
        const std::lock_guard lock(mutex_);
        isr_ |= isr_config;
        if (msix_enabled_) vector = config_vector_;
        update_line();
    }
    msix_.signal(vector);
}

void PciInterrupts::queue_used(unsigned queue) noexcept {
    if (!device_.guest_call(queue).take()) return;
    const std::lock_guard lock(mutex_);
    isr_ |= isr_queue;
    update_line();
}

std::uint8_t PciInterrupts::take_isr() noexcept {
    const std::lock_guard lock(mutex_);
    const std::uint8_t isr = std::exchange(isr_, 0);
    update_line();
    return isr;
}

bool PciInterrupts::intx_pending() const noexcept {
    const std::lock_guard lock(mutex_);
    return !msix_enabled_ && isr_ != 0;
}

void PciInterrupts::update_line() noexcept {
    const bool level = !msix_enabled_ && !intx_disabled_ && isr_ != 0;
    if (level == asserted_) return;
    asserted_ = level;
    line_.set(level);
}

}  // namespace viaduct::virtio
