/// What is known of a device type beyond what every virtio device has in common. Here, and nowhere
/// else, the code names a type; a device without a personality is carried all the same.
#pragma once

#include <cstdint>

namespace viaduct::datapath {

struct Personality {
    std::uint32_t device_id;
    /// Whether every buffer the driver makes available is soon used by itself, so that waiting for
    /// an idle ring ends (a disk's requests). A network card's receive buffers wait for frames.
    bool drains;
    /// Whether the device can leave and rejoin the fast path: what a reset loses can be rebuilt.
    bool switchable;
};

/// Null for a type that nothing is known about.
const Personality* find_personality(std::uint32_t device_id) noexcept;

}  // namespace viaduct::datapath
