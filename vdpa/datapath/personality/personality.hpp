/// What is known of a device type beyond what every virtio device has in common. Here, and nowhere
/// else, the code names a type; a device without a personality is carried all the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/virtio/split_ring_chain.hpp"

namespace viaduct::datapath {

enum class RequestKind : std::uint8_t { read, write, flush, discard, other };
inline constexpr std::size_t request_kinds = 5;

/// "read", "write", …
const char* name_of(RequestKind kind) noexcept;

/// What a chain asks for, for statistics and throttling. `kind` and `bytes` are the driver's word,
/// and the driver may change its word afterwards; what the chain carries and `into_device` are the
/// chain's own, which nobody can change any more. So no word makes `payload` less than that.
struct Request {
    RequestKind kind = RequestKind::other;
    bool into_device = false;           // the payload's direction
    std::uint64_t payload = 0;          // bytes that limits count; 0: no limit is meant
    std::uint64_t bytes = 0;            // that are read, written, discarded or zeroed
    const std::byte* status = nullptr;  // where the device puts its verdict, in guest memory
};

struct Disk {
    std::uint64_t size = 0;  // bytes
    bool read_only = false;
};

struct Personality {
    std::uint32_t device_id = 0;
    /// Whether every buffer the driver makes available is soon used by itself, so that waiting for
    /// an idle ring ends (a disk's requests). A network card's receive buffers wait for frames.
    bool drains = false;
    /// Whether the device leaves and rejoins the fast path unless its operator says otherwise.
    bool automatic = false;
    /// Features that go when the device is to be switchable: what they negotiate would be lost by
    /// a reset, and nothing here can replay it.
    std::uint64_t not_switchable = 0;
    /// A field of the configuration space that the driver may write, with the feature that it comes
    /// with: a reset loses it, so it is kept and written again. Length 0: none.
    struct KeptField {
        std::uint64_t feature = 0;
        std::uint32_t offset = 0;
        std::uint32_t length = 0;  // bytes, at most 8
    } kept;
    /// Reads the head of a chain; null when chains are no requests.
    Request (*parse)(const virtio::Chain& chain) noexcept = nullptr;
    /// What the configuration space says of a disk; null for what is none.
    Disk (*describe_disk)(std::uint64_t features, std::span<const std::byte> config) = nullptr;
};

/// Null for a type that nothing is known about.
const Personality* find_personality(std::uint32_t device_id) noexcept;

}  // namespace viaduct::datapath
