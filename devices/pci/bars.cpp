#include "devices/pci/bars.hpp"

#include <utility>

#include "base/log.hpp"

namespace viaduct::pci {

Bars::Bars(ConfigSpace& config, devices::Bus& bus, MayMap may_map, std::string name)
    : config_(config), bus_(bus), may_map_(std::move(may_map)), name_(std::move(name)) {}

Bars::~Bars() {
    for (Bar& bar : bars_) take_off(bar);
}

void Bars::add(unsigned index, const BarShape& shape, std::shared_ptr<devices::BusDevice> device,
               Moved moved) {
    config_.declare_bar(index, shape);
    bars_.push_back({index, shape.size, std::move(device), std::move(moved), {}, {}});
}

std::optional<std::uint64_t> Bars::wanted(const Bar& bar) const noexcept {
    const std::uint64_t address = config_.bar_address(bar.index);
    if (!config_.memory_enabled() || address == 0) return std::nullopt;
    return address;
}

void Bars::update() noexcept {
    // First all that leave, then all that come: two BARs may change places.
    for (Bar& bar : bars_) {
        if (bar.mapped != wanted(bar)) take_off(bar);
    }
    for (Bar& bar : bars_) {
        const auto address = wanted(bar);
        if (!address) {
            bar.refused.reset();
        } else if (!bar.mapped) {
            put_on(bar, *address);
        }
    }
}

void Bars::take_off(Bar& bar) noexcept {
    if (!bar.mapped) return;
    bus_.remove(*bar.mapped);
    bar.mapped.reset();
    if (bar.moved) bar.moved(std::nullopt);
}

void Bars::put_on(Bar& bar, std::uint64_t address) noexcept {
    if (may_map_(Gpa{address}, bar.size) && bus_.add(address, bar.size, bar.device)) {
        bar.mapped = address;
        bar.refused.reset();
        if (bar.moved) bar.moved(Gpa{address});
        return;
    }
    if (bar.refused == address) return;
    bar.refused = address;
    if (refusals_++ == 0) {
        log::warning("{}: the guest put BAR {} at {:#x}, which is taken: the BAR is not mapped",
                     name_, bar.index, address);
    }
}

}  // namespace viaduct::pci
