/// Keeps a function's memory BARs on the memory bus where the guest has put them: there while the
/// command register's memory-space enable is set and the address makes sense, moved when it moves.
///
/// A BAR at an address that is taken (another BAR, a device, guest memory) is not mapped: nobody's
/// address can be stolen, and sizing a BAR while it decodes leaves nothing behind. That is logged
/// once per function and counted; the next write to the configuration space tries again.
///
/// No locking of its own: the function serialises its configuration accesses.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.hpp"
#include "devices/bus.hpp"
#include "devices/pci/config_space.hpp"

namespace viaduct::pci {

/// The machine's word on where a BAR of `size` bytes may lie; false over guest memory.
using MayMap = std::function<bool(Gpa address, std::uint64_t size)>;

class Bars {
public:
    /// Told of the BAR's address each time it changes; nothing: it is off the bus.
    using Moved = std::function<void(std::optional<Gpa> address)>;

    Bars(ConfigSpace& config, devices::Bus& bus, MayMap may_map, std::string name);
    Bars(const Bars&) = delete;
    Bars& operator=(const Bars&) = delete;
    ~Bars();

    /// Declares BAR `index` in the configuration space, with `device` behind it.
    void add(unsigned index, const BarShape& shape, std::shared_ptr<devices::BusDevice> device,
             Moved moved = {});
    /// Brings the bus in line with the configuration space; called after each write to it.
    void update() noexcept;

    [[nodiscard]] std::uint64_t refusals() const noexcept { return refusals_; }

private:
    struct Bar {
        unsigned index;
        std::uint64_t size;
        std::shared_ptr<devices::BusDevice> device;
        Moved moved;
        std::optional<std::uint64_t> mapped;   // where it is on the bus
        std::optional<std::uint64_t> refused;  // the last address that was not to be had
    };
    [[nodiscard]] std::optional<std::uint64_t> wanted(const Bar& bar) const noexcept;
    void take_off(Bar& bar) noexcept;
    void put_on(Bar& bar, std::uint64_t address) noexcept;

    ConfigSpace& config_;
    devices::Bus& bus_;
    MayMap may_map_;
    std::string name_;
    std::vector<Bar> bars_;
    std::uint64_t refusals_ = 0;
};

}  // namespace viaduct::pci
