/// What stands behind the fake vhost-vdpa node: a parent driver with its device, which has the
/// rings it was given, reaches the memory it was given, and uses requests when a test lets it.
/// Where real parents differ this is the strictest of them: a ring that was not enabled when
/// DRIVER_OK came stays dead (VDUSE), a reset forgets calls and the config call, memory that is not
/// shared is not reached and nobody says so.
///
/// Not safe from several threads: the node locks.
#pragma once

#include <linux/vhost_types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/fd.hpp"

namespace viaduct::test {

class FakeVdpaParent {
public:
    struct Queue {
        std::uint32_t size = 0;
        vhost_vring_addr addresses{};
        std::uint16_t base = 0;
        bool ready = false;  // enabled
        bool alive = false;  // was ready when DRIVER_OK came
        Fd kick;
        Fd call;
    };
    struct Entry {
        std::uint64_t iova;
        std::uint64_t size;
        std::uint64_t address;
    };

    explicit FakeVdpaParent(std::size_t queue_count) : queues(queue_count) {}

    /// DRIVER_OK.
    void start();
    /// Status 0. Kicks stay; the map goes unless `keep_map`.
    void reset(bool keep_map);
    /// The memory that is reached from now on.
    void set_map(const std::vector<Entry>& entries);

    /// Uses all that is available, without interrupting; the number of requests.
    unsigned use_available(Queue& queue);
    /// Uses the last of them before the others, which it keeps.
    void use_last_first(Queue& queue);
    /// The same for each queue that was kicked, with an interrupt.
    void serve_kicks();
    /// Takes the kicks that came, and does nothing about them.
    void forget_kicks();
    /// False when there is no call to signal.
    [[nodiscard]] bool interrupt(const Queue& queue) const;
    [[nodiscard]] bool interrupt_config() const;

    /// Available and not used, on any ring.
    [[nodiscard]] bool in_flight() const;
    [[nodiscard]] bool reaches(std::uint64_t iova, std::uint64_t length) const {
        return reach(iova, length) != nullptr;
    }

    std::vector<Queue> queues;
    Fd config_call;
    bool running = false;
    bool suspended = false;

private:
    [[nodiscard]] std::byte* reach(std::uint64_t iova, std::uint64_t length) const;
    /// flags, idx, ring: null unless the whole ring is reached.
    [[nodiscard]] std::byte* ring(const Queue& queue, std::uint64_t iova,
                                  std::size_t entry_size) const;

    std::vector<Entry> map_;
};

}  // namespace viaduct::test
