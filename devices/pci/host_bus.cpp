#include "devices/pci/host_bus.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "devices/pci/config_space.hpp"

namespace viaduct::pci {
namespace {

constexpr unsigned ecam_shift = 12;
constexpr std::uint16_t ecam_offset_mask = 0xfff;

/// Has an identity and nothing else; what a real one configures is fixed in this machine. The id is
/// Red Hat's for a generic PCI Express host, which guests drive as a plain host bridge.
class HostBridge final : public Function {
public:
    void read_config(std::uint16_t offset, std::span<std::byte> bytes) noexcept override {
        const std::lock_guard lock(mutex_);
        config_.read(offset, bytes);
    }
    void write_config(std::uint16_t offset, std::span<const std::byte> bytes) noexcept override {
        const std::lock_guard lock(mutex_);
        config_.write(offset, bytes);
    }
    void reset() noexcept override {
        const std::lock_guard lock(mutex_);
        config_.reset();
    }

private:
    std::mutex mutex_;
    ConfigSpace config_{Identity{.vendor = 0x1b36,
                                 .device = 0x0008,
                                 .class_code = 0x060000,
                                 .subsystem_vendor = 0x1af4,
                                 .subsystem_device = 0x1100}};
};

}  // namespace

HostBus::HostBus() {
    functions_[0] = std::make_shared<HostBridge>();
}

void HostBus::add(unsigned slot, std::shared_ptr<Function> function) {
    if (slot >= slot_count) {
        throw Error("PCI slot {} does not exist: the bus has slots 0 to {}", slot, slot_count - 1);
    }
    const std::unique_lock lock(mutex_);
    if (functions_.at(slot)) throw Error("PCI slot {} is taken: choose another", slot);
    functions_.at(slot) = std::move(function);
}

void HostBus::remove(unsigned slot) noexcept {
    const std::unique_lock lock(mutex_);
    if (slot < slot_count) functions_.at(slot).reset();
}

void HostBus::reset() noexcept {
    for (unsigned slot = 0; slot < slot_count; ++slot) {
        if (const auto function = find(Bdf::of_slot(slot))) function->reset();
    }
}

std::shared_ptr<Function> HostBus::find(Bdf bdf) const noexcept {
    if (bdf.bus() != 0 || bdf.function() != 0) return nullptr;
    const std::shared_lock lock(mutex_);
    return functions_.at(bdf.slot());
}

void HostBus::config_read(Bdf bdf, std::uint16_t offset,
                          std::span<std::byte> bytes) const noexcept {
    if (const auto function = find(bdf)) {
        function->read_config(offset, bytes);
    } else {
        std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    }
}

void HostBus::config_write(Bdf bdf, std::uint16_t offset,
                           std::span<const std::byte> bytes) const noexcept {
    if (const auto function = find(bdf)) function->write_config(offset, bytes);
}

void HostBus::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    config_read({static_cast<std::uint16_t>(offset >> ecam_shift)},
                static_cast<std::uint16_t>(offset & ecam_offset_mask), bytes);
}

void HostBus::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    config_write({static_cast<std::uint16_t>(offset >> ecam_shift)},
                 static_cast<std::uint16_t>(offset & ecam_offset_mask), bytes);
}

}  // namespace viaduct::pci
