/// The VM's interrupt routes under KVM: the fixed part (PIC and IOAPIC pins, as PCs have them) and
/// a GSI for each message-signalled vector in use. Implements what devices ask for: MsiRouter, and
/// a wired line per source. Safe from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "devices/interrupts.hpp"
#include "vmm/kvm/vm.hpp"

namespace viaduct::kvm {

class InterruptRouter final : public devices::MsiRouter {
public:
    static constexpr std::uint32_t ioapic_pins = 24;

    /// Sets the fixed routes. `vm` must outlive this, and this its routes and lines.
    InterruptRouter(const Vm& vm, std::uint32_t max_routes);

    std::unique_ptr<devices::MsiRoute> route(std::uint16_t bdf) override;

    /// A source on the IOAPIC's pin `gsi`; sources that share a pin are combined (wired OR).
    std::unique_ptr<devices::InterruptLine> line(std::uint32_t gsi);

private:
    class Route;
    class Line;

    [[nodiscard]] std::uint32_t allocate_gsi();
    void release_gsi(std::uint32_t gsi);
    void set_message(std::uint32_t gsi, const devices::MsiMessage& message);
    void commit_routes();
    void change_level(std::uint32_t gsi, int change) noexcept;

    const Vm& vm_;
    const std::uint32_t max_routes_;
    std::mutex mutex_;
    std::vector<kvm_irq_routing_entry> fixed_;
    std::map<std::uint32_t, kvm_irq_routing_entry> messages_;  // by GSI; guarded by mutex_
    std::vector<bool> gsi_in_use_;                             // guarded by mutex_
    std::mutex level_mutex_;
    std::array<int, ioapic_pins> asserted_{};  // sources that hold the pin up; level_mutex_
};

}  // namespace viaduct::kvm
