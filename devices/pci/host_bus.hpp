/// The machine's one PCI bus: bus 0 with 32 slots of one function each; slot 0 is the host bridge.
/// As a BusDevice it is the ECAM window (PCI Express 4.0, 7.2.2): 4 KiB of configuration space per
/// function, 1 MiB in all. Where nothing stands, reads are all ones and writes vanish.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>

#include "devices/bus.hpp"
#include "devices/pci/function.hpp"

namespace viaduct::pci {

class HostBus final : public devices::BusDevice {
public:
    static constexpr unsigned slot_count = 32;
    static constexpr std::uint64_t ecam_size = 1U << 20U;

    HostBus();

    /// Throws Error when there is no such slot or it is taken.
    void add(unsigned slot, std::shared_ptr<Function> function);
    void remove(unsigned slot) noexcept;
    /// Resets every function.
    void reset() noexcept;

    void config_read(Bdf bdf, std::uint16_t offset, std::span<std::byte> bytes) const noexcept;
    void config_write(Bdf bdf, std::uint16_t offset,
                      std::span<const std::byte> bytes) const noexcept;

    // The ECAM window.
    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

private:
    [[nodiscard]] std::shared_ptr<Function> find(Bdf bdf) const noexcept;

    mutable std::shared_mutex mutex_;
    std::array<std::shared_ptr<Function>, slot_count> functions_;  // guarded by mutex_
};

}  // namespace viaduct::pci
