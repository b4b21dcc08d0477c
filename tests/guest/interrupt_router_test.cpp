// Interrupts through KVM: what a device sends is seen in the interrupt request register of the
// LAPIC of a vCPU that does not run, and in the IOAPIC's.
#include "vmm/kvm/interrupt_router.hpp"

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace viaduct::kvm {
namespace {

using devices::MsiMessage;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::uint32_t max_routes = 40;
constexpr std::uint32_t some_pin = 20;

/// Fixed delivery of `vector` to APIC 0 (Intel SDM 3A, 11.11).
MsiMessage message(std::uint8_t vector) {
    return {0xfee0'0000, vector};
}

class InterruptRouterTest : public testing::Test {
protected:
    InterruptRouterTest() {
        vm_.create_irqchip();
        vcpu_ = std::make_unique<Vcpu>(system_, vm_, 0);
        // The APIC takes interrupts once software enables it: bit 8 of the spurious vector
        // register.
        kvm_lapic_state lapic = vcpu_->lapic();
        lapic.regs[0xf1] |= 1;
        vcpu_->set_lapic(lapic);
        router_ = std::make_unique<InterruptRouter>(vm_, max_routes);
    }

    [[nodiscard]] bool requested(std::uint8_t vector) const {
        constexpr std::size_t request_register = 0x200;
        const kvm_lapic_state lapic = vcpu_->lapic();
        const auto byte = static_cast<unsigned char>(
            lapic.regs[request_register + std::size_t{vector} / 32 * 16 + vector % 32U / 8]);
        return (byte >> vector % 8U & 1) != 0;
    }
    [[nodiscard]] bool arrives(std::uint8_t vector) const {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!requested(vector)) {
            if (std::chrono::steady_clock::now() > deadline) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return true;
    }
    [[nodiscard]] bool pin_is_up(std::uint32_t pin) const {
        return (vm_.irqchip(KVM_IRQCHIP_IOAPIC).chip.ioapic.irr >> pin & 1) != 0;
    }

    System system_;
    Vm vm_{system_};
    std::unique_ptr<Vcpu> vcpu_;
    std::unique_ptr<InterruptRouter> router_;
};

TEST_F(InterruptRouterTest, ASignalSendsTheMessage) {
    const auto route = router_->route(0);
    route->update(message(0x40));
    EXPECT_FALSE(requested(0x40));
    route->signal();
    EXPECT_TRUE(requested(0x40));
}

TEST_F(InterruptRouterTest, AnAttachedSourceSendsTheMessageWithoutTheVmm) {
    const auto route = router_->route(0);
    const EventFd source;
    route->update(message(0x41));
    route->attach(source);
    source.signal();
    EXPECT_TRUE(arrives(0x41));
    EXPECT_FALSE(source.pending());
    route->detach(source);
}

TEST_F(InterruptRouterTest, SeveralSourcesMayShareAVector) {
    const auto route = router_->route(0);
    const EventFd first;
    const EventFd second;
    route->update(message(0x42));
    route->attach(first);
    route->attach(second);
    second.signal();
    EXPECT_TRUE(arrives(0x42));
    route->detach(first);
    route->detach(second);
}

TEST_F(InterruptRouterTest, WhatWasPendingIsSentWhenItsSourceIsAttached) {
    const auto route = router_->route(0);
    const EventFd source;
    source.signal();
    route->update(message(0x43));
    route->attach(source);
    EXPECT_TRUE(arrives(0x43));
    route->detach(source);
}

TEST_F(InterruptRouterTest, SignalsOfADetachedSourceStayInIt) {
    const auto route = router_->route(0);
    const EventFd source;
    route->update(message(0x44));
    route->attach(source);
    route->detach(source);
    source.signal();
    EXPECT_TRUE(source.pending());
    EXPECT_FALSE(requested(0x44));
}

TEST_F(InterruptRouterTest, AnUpdateChangesWhatAnAttachedSourceSends) {
    const auto route = router_->route(0);
    const EventFd source;
    route->update(message(0x45));
    route->attach(source);
    route->update(message(0x46));
    source.signal();
    EXPECT_TRUE(arrives(0x46));
    EXPECT_FALSE(requested(0x45));
    route->detach(source);
}

TEST_F(InterruptRouterTest, EachRouteSendsItsOwnMessage) {
    const auto first = router_->route(0);
    const auto second = router_->route(0);
    const EventFd source;
    first->update(message(0x47));
    second->update(message(0x48));
    second->attach(source);
    source.signal();
    EXPECT_TRUE(arrives(0x48));
    EXPECT_FALSE(requested(0x47));
    second->detach(source);
}

TEST_F(InterruptRouterTest, RoutesThatAreGivenBackAreUsedAgain) {
    std::vector<std::unique_ptr<devices::MsiRoute>> routes;
    for (std::uint32_t gsi = InterruptRouter::ioapic_pins; gsi < max_routes; ++gsi) {
        routes.push_back(router_->route(0));
        routes.back()->update(message(0x50));
    }
    EXPECT_THAT([&] { (void)router_->route(0); },
                ThrowsMessage<Error>(HasSubstr("40 interrupt routes")));
    routes.erase(routes.begin() + 3);
    const auto again = router_->route(0);
    const EventFd source;
    again->update(message(0x51));
    again->attach(source);
    source.signal();
    EXPECT_TRUE(arrives(0x51));
    EXPECT_FALSE(requested(0x50));
    again->detach(source);
}

TEST_F(InterruptRouterTest, ALineRaisesAndLowersItsPin) {
    const auto line = router_->line(some_pin);
    EXPECT_FALSE(pin_is_up(some_pin));
    line->set(true);
    EXPECT_TRUE(pin_is_up(some_pin));
    line->set(false);
    EXPECT_FALSE(pin_is_up(some_pin));
}

TEST_F(InterruptRouterTest, APinStaysUpWhileAnyOfItsLinesIs) {
    const auto first = router_->line(some_pin);
    auto second = router_->line(some_pin);
    first->set(true);
    second->set(true);
    second->set(true);
    first->set(false);
    EXPECT_TRUE(pin_is_up(some_pin));
    second.reset();  // a device that goes takes its level with it
    EXPECT_FALSE(pin_is_up(some_pin));
}

TEST_F(InterruptRouterTest, TheTimersGsiIsPin2AsOnEveryPc) {
    vm_.set_irq_line(0, true);
    EXPECT_TRUE(pin_is_up(2));
    EXPECT_FALSE(pin_is_up(0));
}

TEST_F(InterruptRouterTest, MessagesLeaveThePinsAlone) {
    const auto route = router_->route(0);
    route->update(message(0x49));
    const auto line = router_->line(some_pin);
    line->set(true);
    EXPECT_TRUE(pin_is_up(some_pin));
}

}  // namespace
}  // namespace viaduct::kvm
