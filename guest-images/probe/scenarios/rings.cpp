// What the split ring can do beside single requests: indirect tables, suppression both ways,
// several queues.
#include <initializer_list>

#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Completion;
using block::Device;
using block::RequestType;
using block::Status;
using virtio::Segment;

constexpr Microseconds grace = 5_ms;

void expect_count(uint8_t vector, uint32_t expected) {
    halt_until(1_s, [=] { return interrupts::count(vector) >= expected; });
    CHECK_EQUAL(interrupts::count(vector), expected);
}

void run_indirect() {
    Device device{virtio::choose_function()};
    device.start({.wanted_features = virtio::feature::indirect_desc | block::feature::seg_max});
    CHECK(device.has(virtio::feature::indirect_desc), "INDIRECT_DESC is not offered");
    block::Queue& queue = device.queue();
    for (const uint32_t pieces : {1U, 2U, 16U, 64U}) {
        const uint32_t bytes = pieces * 1024;
        auto* written = static_cast<uint8_t*>(allocate(bytes));
        auto* read = static_cast<uint8_t*>(allocate(bytes));
        pattern::fill(written, pieces, bytes, pieces);
        Segment segments[64];
        const auto run = [&](RequestType type, uint8_t* buffer) {
            for (uint32_t i = 0; i < pieces; ++i) {
                segments[i] = {address_of(buffer) + 1024ULL * i, 1024, type == RequestType::read};
            }
            const uint16_t free_before = queue.ring.free_count();
            queue.submit_indirect(type, pieces, segments, pieces);
            CHECK_EQUAL(queue.ring.free_count(), free_before - 1);
            queue.kick();
            CHECK_EQUAL(queue.wait().status, Status::ok);
        };
        run(RequestType::write, written);
        run(RequestType::read, read);
        pattern::check(read, pieces, bytes, pieces);
    }
    // Direct and indirect chains may alternate in one queue.
    pattern::write_and_verify(queue, 0, 4096, 9);
}

// An interrupt comes when the used index passes used_event, and not before.
void check_used_event(Device& device, void* buffer) {
    block::Queue& queue = device.queue();
    const uint8_t vector = device.vector();
    queue.set_completion(Completion::polling);
    const uint16_t start = queue.ring.next_used();
    const uint32_t before = interrupts::count(vector);
    constexpr uint16_t quiet_completions = 3;
    queue.ring.set_used_event(static_cast<uint16_t>(start + quiet_completions));
    for (uint16_t i = 0; i < quiet_completions; ++i) {
        CHECK_EQUAL(queue.read(i, buffer, 4096), Status::ok);
        settle(grace);
        CHECK_EQUAL(interrupts::count(vector), before);
    }
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    expect_count(vector, before + 1);
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    settle(grace);
    CHECK_EQUAL(interrupts::count(vector), before + 1);
}

// The device says when it wants to be notified. It is believed to the letter, and everything
// completes.
void check_available_event(Device& device, void* buffer) {
    block::Queue& queue = device.queue();
    constexpr uint32_t batch = 16;
    constexpr uint32_t batches = 8;
    uint32_t kicks = 0;
    const Segment payload{address_of(buffer), 512, true};
    for (uint32_t i = 0; i < batches; ++i) {
        for (uint32_t j = 0; j < batch; ++j) {
            queue.submit(RequestType::read, j, &payload, 1);
            if (!queue.ring.needs_notification()) continue;
            queue.kick_always();
            ++kicks;
        }
        for (uint32_t j = 0; j < batch; ++j) CHECK_EQUAL(queue.wait().status, Status::ok);
        const auto wants_next = [&] {
            const uint16_t index = queue.ring.available_index();
            return virtio::is_event_due(queue.ring.available_event(),
                                        static_cast<uint16_t>(index + 1), index);
        };
        CHECK(spin_until(1_s, wants_next), "available event ", queue.ring.available_event(),
              " at index ", queue.ring.available_index());
    }
    print(kicks, " notifications for ", batch * batches, " requests\n");
    CHECK(kicks >= batches && kicks <= batch * batches, kicks);
}

void run_event_idx() {
    Device device{virtio::choose_function()};
    device.start({.wanted_features = virtio::feature::event_idx, .completion = Completion::msix});
    CHECK(device.has(virtio::feature::event_idx), "EVENT_IDX is not offered");
    void* buffer = allocate(4096);
    // Before the first completion a device knows no old index to compare with, and may interrupt in
    // any case.
    CHECK_EQUAL(device.queue().read(0, buffer, 4096), Status::ok);
    expect_count(device.vector(), 1);
    for (int i = 0; i < 3; ++i) check_used_event(device, buffer);
    check_available_event(device, buffer);
}

void run_multi_queue() {
    Device device{virtio::choose_function()};
    CHECK((device.transport.device_features() & block::feature::multi_queue) != 0,
          "MQ not offered");
    const auto offered = device.transport.read_config<uint16_t>(block::config::num_queues);
    const auto queues = static_cast<uint16_t>(option_number("queues", offered));
    CHECK_EQUAL(queues, offered);
    device.start({.wanted_features = block::feature::multi_queue,
                  .queue_count = queues,
                  .completion = Completion::msix});
    constexpr uint32_t bytes = 4096;
    const auto sector_of = [](uint16_t queue) { return uint64_t{queue} * 64; };
    void* buffers[Device::most_queues];
    uint32_t rounds = 0;
    const auto run_on_all = [&](RequestType type) {
        for (uint16_t i = 0; i < queues; ++i) {
            const Segment payload{address_of(buffers[i]), bytes, type == RequestType::read};
            device.queue(i).submit(type, sector_of(i), &payload, 1);
        }
        for (uint16_t i = queues; i-- != 0;) device.queue(i).kick();
        ++rounds;
        for (uint16_t i = 0; i < queues; ++i) {
            CHECK_EQUAL(device.queue(i).wait().status, Status::ok);
            expect_count(device.vector(i), rounds);
        }
    };
    for (uint16_t i = 0; i < queues; ++i) {
        buffers[i] = allocate(bytes);
        pattern::fill(buffers[i], sector_of(i), bytes, i + 1U);
    }
    run_on_all(RequestType::write);
    for (uint16_t i = 0; i < queues; ++i) pattern::fill_with(buffers[i], bytes, 0);
    run_on_all(RequestType::read);
    for (uint16_t i = 0; i < queues; ++i) {
        pattern::check(buffers[i], sector_of(i), bytes, i + 1U);
    }
    print(queues, " queues\n");
}

// NO_INTERRUPT, first with a vector that could be used, then with none at all.
void run_polling() {
    Device device{virtio::choose_function()};
    void* buffer = allocate(4096);
    device.start({.completion = Completion::msix});
    device.queue().ring.set_no_interrupt(true);
    device.queue().set_completion(Completion::polling);
    for (uint32_t i = 0; i < 20; ++i) {
        CHECK_EQUAL(device.queue().read(i, buffer, 4096), Status::ok);
    }
    settle(grace);
    CHECK_EQUAL(interrupts::count(device.vector()), 0U);
    device.start({.completion = Completion::polling});
    for (uint32_t i = 0; i < 20; ++i) {
        CHECK_EQUAL(device.queue().read(i, buffer, 4096), Status::ok);
    }
    settle(grace);
    CHECK_EQUAL(interrupts::count(device.vector()), 0U);
    CHECK_EQUAL(device.transport.read_isr(), 0);
    pattern::write_and_verify(device.queue(), 0, 16384, 1);
}

constexpr Scenario scenarios[] = {
    {"indirect", run_indirect},
    {"event-idx", run_event_idx},
    {"multi-queue", run_multi_queue},
    {"polling", run_polling},
};

}  // namespace

constexpr ScenarioList ring_scenarios{scenarios};

}  // namespace probe
