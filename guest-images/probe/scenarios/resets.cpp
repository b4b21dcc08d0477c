// Devices that are reset while they work, and drivers that start all over.
#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Completion;
using block::Device;
using block::RequestType;
using virtio::Segment;

constexpr uint64_t request_bytes = 4096;
constexpr uint64_t tag = 0xdeadbeefcafef00d;

// Fills the queue with reads and resets at once. Whatever the device was doing, once the status
// reads 0 it must not touch the buffers or the ring any more.
void reset_with_reads_in_flight(Device& device, uint8_t* buffers) {
    block::Queue& queue = device.queue();
    uint32_t requests = 0;
    while (queue.ring.free_count() >= 3) {
        const Segment payload{address_of(buffers) + requests * request_bytes, request_bytes, true};
        queue.submit(RequestType::read, 8ULL * requests, &payload, 1);
        ++requests;
    }
    queue.kick_always();
    device.transport.reset();
    const uint16_t used_index = queue.ring.used_index();
    pattern::fill_with(buffers, requests * request_bytes, tag);
    settle(2_ms);
    CHECK(pattern::is_filled_with(buffers, requests * request_bytes, tag),
          "a buffer changed after the reset");
    CHECK_EQUAL(queue.ring.used_index(), used_index);
}

void run_reset_mid_io() {
    Device device{virtio::choose_function()};
    const uint64_t rounds = option_number("rounds", 20);
    constexpr uint16_t queue_size = 64;
    auto* buffers = static_cast<uint8_t*>(allocate(queue_size / 3 * request_bytes));
    for (uint32_t round = 0; round < rounds; ++round) {
        // Both ways of being told, for what a reset has to take down differs.
        const auto completion = round % 2 == 0 ? Completion::msix : Completion::polling;
        device.start({.queue_size = queue_size, .completion = completion});
        reset_with_reads_in_flight(device, buffers);
        device.start({.queue_size = queue_size, .completion = completion});
        pattern::write_and_verify(device.queue(), round, 4096, round);
    }
    print(rounds, " rounds\n");
}

// As a kernel does that another one started by kexec: nothing is taken down, all is set up anew.
void run_reinit() {
    const uint64_t rounds = option_number("rounds", 5);
    for (uint32_t round = 0; round < rounds; ++round) {
        Device device{virtio::choose_function()};
        device.start({.queue_size = static_cast<uint16_t>(64 << round % 3),
                      .completion = round % 2 == 0 ? Completion::msix : Completion::polling});
        pattern::write_and_verify(device.queue(), round, 16384, round);
        // Not taken from the used ring: the next round must not see it.
        void* buffer = allocate(4096);
        const Segment payload{address_of(buffer), 4096, true};
        device.queue().submit(RequestType::read, 0, &payload, 1);
        device.queue().kick();
    }
}

constexpr Scenario scenarios[] = {
    {"reset-mid-io", run_reset_mid_io},
    {"reinit", run_reinit},
};

}  // namespace

constexpr ScenarioList reset_scenarios{scenarios};

}  // namespace probe
