/// The memory of a guest that keeps to no rule, and the ring that it set up there.
///
/// Each region is a heap allocation of its own: what reads past its end, by however little, is
/// found by the address sanitizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "base/address_space.hpp"
#include "devices/virtio/split_ring.hpp"
#include "tests/fuzz/chain_walk.hpp"

namespace viaduct::fuzz {

class HostileGuest {
public:
    static constexpr Iova ram{0x10'0000};
    static constexpr std::uint64_t ram_bytes = 0x4000;
    /// Memory of its own that begins where `ram` ends.
    static constexpr Iova more{ram.value + ram_bytes};
    static constexpr std::uint64_t more_bytes = 0x1000;
    /// Memory that no device may write.
    static constexpr Iova rom{0x20'0000};
    static constexpr std::uint64_t rom_bytes = 0x1000;
    /// Where a PCI function's registers and its MSI-X table are: no memory.
    static constexpr Iova bar{0xfe00'0000};

    HostileGuest();

    [[nodiscard]] const AddressSpace& memory() const noexcept { return memory_; }

    /// A device may access all of [address, address + length), which lies in one region.
    [[nodiscard]] std::byte* reach(Iova address, std::uint64_t length,
                                   bool to_write = false) const noexcept;
    /// By the guest itself; outside of memory nothing happens.
    void write(Iova address, std::uint64_t value, std::uint64_t bytes) const noexcept;
    void write(Iova address, const virtio::Descriptor& descriptor) const noexcept;

private:
    struct Deleter {
        void operator()(std::byte* bytes) const noexcept {
            ::operator delete[](bytes, std::align_val_t{page});
        }
    };
    static constexpr std::size_t page = 4096;

    void map(Iova at, std::uint64_t bytes, bool writable);

    std::vector<std::unique_ptr<std::byte[], Deleter>> owned_;
    AddressSpace memory_;
};

}  // namespace viaduct::fuzz
