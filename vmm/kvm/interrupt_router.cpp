#include "vmm/kvm/interrupt_router.hpp"

#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"

namespace viaduct::kvm {
namespace {

constexpr std::uint32_t pic_pins = 16;

kvm_irq_routing_entry chip_route(std::uint32_t gsi, std::uint32_t chip, std::uint32_t pin) {
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
    return entry;
}

/// GSI n is IOAPIC pin n, but for the timer: GSI 0 is pin 2 as on every PC (the MADT says so).
std::vector<kvm_irq_routing_entry> fixed_routes() {
    std::vector<kvm_irq_routing_entry> routes;
    for (std::uint32_t gsi = 0; gsi < pic_pins; ++gsi) {
        if (gsi == 2) continue;
        routes.push_back(gsi < 8 ? chip_route(gsi, KVM_IRQCHIP_PIC_MASTER, gsi)
                                 : chip_route(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8));
    }
    for (std::uint32_t gsi = 0; gsi < InterruptRouter::ioapic_pins; ++gsi) {
        if (gsi == 2) continue;
        routes.push_back(chip_route(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi));
    }
    return routes;
}

}  // namespace

class InterruptRouter::Route final : public devices::MsiRoute {
public:
    Route(InterruptRouter& router, std::uint32_t gsi) : router_(router), gsi_(gsi) {}
    Route(const Route&) = delete;
    Route& operator=(const Route&) = delete;
    ~Route() override { router_.release_gsi(gsi_); }

    void update(const devices::MsiMessage& message) override {
        if (routed_ && message_ == message) return;
        router_.set_message(gsi_, message);
        message_ = message;
        routed_ = true;
    }
    void attach(const EventFd& source) override { router_.vm_.add_irqfd(gsi_, source); }
    void detach(const EventFd& source) override { router_.vm_.remove_irqfd(gsi_, source); }
    void signal() noexcept override { router_.vm_.signal_msi(message_.address, message_.data); }

private:
    InterruptRouter& router_;
    std::uint32_t gsi_;
    devices::MsiMessage message_;
    bool routed_ = false;
};

class InterruptRouter::Line final : public devices::InterruptLine {
public:
    Line(InterruptRouter& router, std::uint32_t gsi) : router_(router), gsi_(gsi) {}
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;
    ~Line() override { Line::set(false); }

    void set(bool asserted) noexcept override {
        const std::lock_guard lock(router_.level_mutex_);
        if (std::exchange(asserted_, asserted) != asserted) {
            router_.change_level(gsi_, asserted ? 1 : -1);
        }
    }

private:
    InterruptRouter& router_;
    std::uint32_t gsi_;
    bool asserted_ = false;  // guarded by level_mutex_
};

InterruptRouter::InterruptRouter(const Vm& vm, std::uint32_t max_routes)
    : vm_(vm), max_routes_(max_routes), fixed_(fixed_routes()), gsi_in_use_(ioapic_pins, true) {
    vm_.set_gsi_routing(fixed_);
}

std::unique_ptr<devices::MsiRoute> InterruptRouter::route(std::uint16_t /*bdf*/) {
    return std::make_unique<Route>(*this, allocate_gsi());
}

std::unique_ptr<devices::InterruptLine> InterruptRouter::line(std::uint32_t gsi) {
    return std::make_unique<Line>(*this, gsi);
}

std::uint32_t InterruptRouter::allocate_gsi() {
    const std::lock_guard lock(mutex_);
    for (std::uint32_t gsi = ioapic_pins; gsi < gsi_in_use_.size(); ++gsi) {
        if (!gsi_in_use_[gsi]) {
            gsi_in_use_[gsi] = true;
            return gsi;
        }
    }
    if (gsi_in_use_.size() >= max_routes_) {
        throw Error("KVM has {} interrupt routes and all are in use: use fewer devices or queues",
                    max_routes_);
    }
    gsi_in_use_.push_back(true);
    return static_cast<std::uint32_t>(gsi_in_use_.size() - 1);
}

void InterruptRouter::release_gsi(std::uint32_t gsi) {
    const std::lock_guard lock(mutex_);
    gsi_in_use_[gsi] = false;
    // Left in KVM's table until the next change: nothing signals this GSI any more.
    messages_.erase(gsi);
}

void InterruptRouter::set_message(std::uint32_t gsi, const devices::MsiMessage& message) {
    const std::lock_guard lock(mutex_);
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<std::uint32_t>(message.address);
    entry.u.msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
    entry.u.msi.data = message.data;
    messages_[gsi] = entry;
    commit_routes();
}

void InterruptRouter::commit_routes() {
    std::vector<kvm_irq_routing_entry> entries = fixed_;
    for (const auto& [gsi, entry] : messages_) entries.push_back(entry);
    vm_.set_gsi_routing(entries);
}

void InterruptRouter::change_level(std::uint32_t gsi, int change) noexcept {
    int& count = asserted_[gsi];
    const bool before = count > 0;
    count += change;
    if (before != (count > 0)) vm_.set_irq_line(gsi, count > 0);
}

}  // namespace viaduct::kvm
