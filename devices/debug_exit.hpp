/// The port by which a guest under test ends its machine, as QEMU's isa-debug-exit: a write of 1, 2
/// or 4 bytes reports its value. Reads give all ones; anything wider is ignored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "devices/bus.hpp"

namespace viaduct::devices {

class DebugExit final : public BusDevice {
public:
    static constexpr std::uint64_t default_port = 0xf4;
    static constexpr std::uint64_t port_count = 4;

    /// Called on the vCPU's thread for each write; it asks somebody else to end the machine.
    using OnExit = std::function<void(std::uint32_t value)>;

    explicit DebugExit(OnExit on_exit) : on_exit_(std::move(on_exit)) {}

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    /// The program's exit status for what the guest wrote: odd, so never taken for success.
    [[nodiscard]] static constexpr int exit_status(std::uint32_t value) noexcept {
        return static_cast<int>((value << 1U | 1U) & 0xffU);
    }

private:
    OnExit on_exit_;
};

}  // namespace viaduct::devices
