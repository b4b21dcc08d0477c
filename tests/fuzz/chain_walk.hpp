/// A second reading of descriptor chains (virtio 1.2, 2.7.5), to compare the product's with: slow,
/// and with nothing of the product's but the layout of a descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/address.hpp"

namespace viaduct::fuzz {

struct Buffer {
    Iova address;
    std::uint32_t length = 0;
    bool writable = false;

    friend bool operator==(const Buffer&, const Buffer&) = default;
};

struct Walk {
    std::uint16_t ring_size = 0;
    Iova table;
    bool indirect = false;    // VIRTIO_F_INDIRECT_DESC is negotiated
    std::size_t longest = 0;  // buffers
    /// Where [address, address + length) stands; null when not all of it may be read.
    std::function<const std::byte*(Iova, std::uint64_t)> read;
};

/// The buffers of the chain that starts at `head`, in their order; nothing when there is no such
/// chain.
std::optional<std::vector<Buffer>> walk_chain(const Walk& walk, std::uint16_t head);

}  // namespace viaduct::fuzz
