/// PCI configuration mechanism #1 (PCI 3.0, 3.2.2.3.2): the address port 0xcf8 and the data port
/// 0xcfc, PCs' older way to the configuration space that ECAM shows as memory.
#pragma once

#include <cstdint>
#include <mutex>

#include "devices/bus.hpp"
#include "devices/pci/host_bus.hpp"

namespace viaduct::x86 {

/// Eight ports from 0xcf8. Byte 1 of the address register, which is port 0xcf9, belongs to the
/// reset register and is passed on to it.
class PciPorts final : public devices::BusDevice {
public:
    static constexpr std::uint16_t base = 0xcf8;
    static constexpr std::uint16_t size = 8;

    PciPorts(pci::HostBus& bus, devices::BusDevice& reset_control)
        : bus_(bus), reset_control_(reset_control) {}

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

private:
    [[nodiscard]] std::uint32_t address();

    pci::HostBus& bus_;
    devices::BusDevice& reset_control_;
    std::mutex mutex_;
    std::uint32_t address_ = 0;  // guarded by mutex_
};

}  // namespace viaduct::x86
