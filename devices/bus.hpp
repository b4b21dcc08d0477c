/// An address bus: ranges of addresses (memory-mapped or port I/O) to the devices behind them.
/// vCPU threads look up concurrently; ranges come and go while they do (a guest moves its BARs).
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <vector>

namespace viaduct::devices {

/// What stands behind a range. `offset` counts from the range's start; the bytes are in guest
/// (little-endian) order, 1 to 8 of them. Never throws: an access that makes no sense has a result
/// that the device defines.
class BusDevice {
public:
    virtual ~BusDevice() = default;
    virtual void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept = 0;
    virtual void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept = 0;
};

class Bus {
public:
    /// False, and nothing changed, when the range is empty, wraps or overlaps another. A guest can
    /// ask for that (two BARs at one address), so it is no error.
    bool add(std::uint64_t base, std::uint64_t size, std::shared_ptr<BusDevice> device);
    /// Takes out the range that starts at `base`; accesses under way finish on their own.
    void remove(std::uint64_t base);

    /// An access outside every range reads all ones; one that crosses a range's end does too.
    void read(std::uint64_t address, std::span<std::byte> bytes) const noexcept;
    void write(std::uint64_t address, std::span<const std::byte> bytes) const noexcept;

private:
    struct Range {
        std::uint64_t base;
        std::uint64_t size;
        std::shared_ptr<BusDevice> device;
    };
    struct Hit {
        std::shared_ptr<BusDevice> device;
        std::uint64_t offset = 0;
    };
    [[nodiscard]] Hit find(std::uint64_t address, std::size_t length) const noexcept;

    mutable std::shared_mutex mutex_;
    std::vector<Range> ranges_;  // sorted by base; guarded by mutex_
};

}  // namespace viaduct::devices
