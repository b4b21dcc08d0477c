// Queue registers: what a driver may set, and what becomes of values that make no sense.
#include <initializer_list>

#include "guest-images/probe/block.hpp"
#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Completion;
using block::Device;
using block::RequestType;
using block::Status;
using virtio::Transport;
namespace common = virtio::common;

void check_doorbells(const Transport& transport, uint16_t queues) {
    const virtio::Location notify =
        virtio::find_structure(transport.function(), virtio::Structure::notify);
    const uint64_t multiplier = transport.notify_multiplier();
    for (uint16_t i = 0; i < queues; ++i) {
        transport.select_queue(i);
        const auto offset = transport.read(common::queue_notify_off);
        CHECK(offset * multiplier + 2 <= notify.length, "queue ", i, " offset ", offset);
    }
    print("doorbells ", multiplier, " bytes apart\n");
}

void check_vectors(const Transport& transport) {
    const MsixTable msix{transport.function()};
    const auto expect = [&](virtio::Register<uint16_t> reg, uint16_t written, uint16_t expected) {
        transport.write(reg, written);
        CHECK_EQUAL(transport.read(reg), expected);
    };
    const auto last = static_cast<uint16_t>(msix.size() - 1);
    for (const auto reg : {common::queue_msix_vector, common::config_msix_vector}) {
        CHECK_EQUAL(transport.read(reg), virtio::no_vector);
        expect(reg, last, last);
        expect(reg, msix.size(), virtio::no_vector);
        expect(reg, 0, 0);
        expect(reg, 0xfffe, virtio::no_vector);
        expect(reg, virtio::no_vector, virtio::no_vector);
    }
}

// A size that is no power of two or too large: ignored, or the queue is not enabled.
void check_bad_sizes(const Transport& transport, uint16_t largest) {
    for (const uint16_t size : {uint16_t{0}, uint16_t{3}, static_cast<uint16_t>(largest - 1),
                                static_cast<uint16_t>(largest * 2), uint16_t{0xffff}}) {
        if (size == largest) continue;
        transport.write(common::queue_size, size);
        const auto after = transport.read(common::queue_size);
        const bool is_sane = after != 0 && after <= largest && (after & (after - 1)) == 0;
        if (is_sane || runs_on_qemu()) continue;
        transport.write(common::queue_enable, 1);
        CHECK(transport.read(common::queue_enable) == 0, "size ", size, " is enabled as ", after);
    }
    transport.write(common::queue_size, largest);
}

void run_queue_registers() {
    Device device{virtio::choose_function()};
    const Transport& transport = device.transport;
    device.negotiate({.wanted_features = block::feature::multi_queue});
    const auto queues = transport.read(common::num_queues);
    CHECK_EQUAL(uint64_t{queues}, option_number("queues", queues));
    CHECK(queues >= 1);
    for (const uint16_t absent : {queues, static_cast<uint16_t>(queues + 1), uint16_t{0xffff}}) {
        CHECK_EQUAL(transport.queue_size(absent), 0);
        transport.write(common::queue_size, 4);
        transport.write(common::queue_enable, 1);
        CHECK_EQUAL(transport.read(common::queue_size), 0);
        if (!runs_on_qemu()) CHECK_EQUAL(transport.read(common::queue_enable), 0);
    }
    check_doorbells(transport, queues);
    const uint16_t largest = transport.queue_size(0);
    CHECK(largest >= 2 && (largest & (largest - 1)) == 0, largest);
    print(queues, " queues of ", largest, "\n");
    check_vectors(transport);
    check_bad_sizes(transport, largest);
    const auto half = static_cast<uint16_t>(largest / 2);
    transport.write(common::queue_size, half);
    CHECK_EQUAL(transport.read(common::queue_size), half);
    CHECK_EQUAL(transport.read(common::queue_enable), 0);
    const virtio::QueueAddresses addresses{0x123456000, 0x234567000, 0x345678000};
    transport.write_queue_addresses(addresses);
    const virtio::QueueAddresses read_back = transport.read_queue_addresses();
    CHECK_EQUAL(read_back.desc, addresses.desc);
    CHECK_EQUAL(read_back.driver, addresses.driver);
    CHECK_EQUAL(read_back.device, addresses.device);
    transport.reset();
    CHECK_EQUAL(transport.queue_size(0), largest);
    CHECK_EQUAL(transport.read(common::queue_enable), 0);
    device.start({});
    pattern::write_and_verify(device.queue(), 0, 4096, 1);
}

enum class Part { desc, driver, device };

// Sets queue 0 up with one bad address. The device has to refuse the queue or to ask for a reset.
void try_address(Device& device, Part part, uint64_t address) {
    constexpr uint16_t queue_size = 16;
    device.negotiate({});
    const Transport& transport = device.transport;
    auto& queue = create<block::Queue>(transport, uint16_t{0}, queue_size, false);
    virtio::QueueAddresses addresses = queue.ring.addresses();
    if (part == Part::desc) addresses.desc = address;
    if (part == Part::driver) addresses.driver = address;
    if (part == Part::device) addresses.device = address;
    transport.select_queue(0);
    transport.write(common::queue_size, queue_size);
    transport.write_queue_addresses(addresses);
    transport.write(common::queue_enable, 1);
    const bool is_refused = transport.read(common::queue_enable) == 0;
    device.set_driver_ok();
    void* buffer = allocate(512, 512);
    const virtio::Segment payload{address_of(buffer), 512, true};
    queue.submit(RequestType::read, 0, &payload, 1);
    queue.kick_always();
    const bool needs_reset = !is_refused && spin_until(2_s, [&] {
        return (transport.device_status() & virtio::status::needs_reset) != 0;
    });
    print("part ", static_cast<int>(part), " at ", hex(address), ": ",
          is_refused ? "refused" : (needs_reset ? "needs reset" : "taken"), "\n");
    CHECK(is_refused || needs_reset || runs_on_qemu(), "part ", static_cast<int>(part));
    device.start({});
    pattern::write_and_verify(device.queue(), 0, 512, static_cast<uint32_t>(address >> 4));
}

uint64_t end_of_ram() {
    uint64_t end = 0;
    for (const MemoryRange& range : boot_record().memory_map) {
        if (range.type == MemoryType::ram && range.end() > end) end = range.end();
    }
    return end;
}

void run_bad_queue_address() {
    Device device{virtio::choose_function()};
    const uint64_t unaligned = address_of(allocate(8192)) + 4096;
    try_address(device, Part::desc, unaligned + 8);
    try_address(device, Part::driver, unaligned + 1);
    try_address(device, Part::device, unaligned + 2);
    constexpr uint64_t far_outside = 1ULL << 40;
    constexpr uint64_t wrapping = 0xffffffffffffffe0;
    for (const Part part : {Part::desc, Part::driver, Part::device}) {
        try_address(device, part, far_outside);
        try_address(device, part, wrapping);
        try_address(device, part, end_of_ram() - 16);
        try_address(device, part, end_of_ram());
    }
}

// Two descriptors are all a queue of two has: header and payload share one, or payload and status.
void check_two_descriptor_requests(block::Queue& queue, uint32_t seed) {
    constexpr uint32_t header_size = sizeof(block::RequestHeader);
    auto* buffer = static_cast<uint8_t*>(allocate(header_size + block::sector_size + 8));
    uint8_t* sector = buffer + header_size;
    block::RequestSlot& slot = queue.slot(queue.ring.next_head());
    const auto run = [&](const virtio::Segment(&segments)[2]) {
        queue.ring.publish(queue.ring.add_chain(segments, 2));
        queue.kick();
        queue.wait();
    };
    *reinterpret_cast<block::RequestHeader*>(buffer) = {RequestType::write, 0, seed};
    pattern::fill(sector, seed, block::sector_size, seed);
    slot.status = Status::untouched;
    run({{address_of(buffer), header_size + block::sector_size, false},
         {address_of(&slot.status), 1, true}});
    CHECK_EQUAL(slot.status, Status::ok);
    slot.header = {RequestType::read, 0, seed};
    __builtin_memset(sector, 0xff, block::sector_size + 8);
    run({{address_of(&slot.header), header_size, false},
         {address_of(sector), block::sector_size + 1, true}});
    CHECK_EQUAL(sector[block::sector_size], static_cast<uint8_t>(Status::ok));
    CHECK_EQUAL(sector[block::sector_size + 1], 0xff);
    pattern::check(sector, seed, block::sector_size, seed);
}

void run_size_limits() {
    Device device{virtio::choose_function()};
    const uint16_t largest = device.transport.queue_size(0);
    for (uint32_t size = 2; size <= largest; size *= 2) {
        device.start({.queue_size = static_cast<uint16_t>(size)});
        CHECK_EQUAL(device.queue().ring.size(), size);
        // Often enough for the indices to go round small rings.
        for (uint32_t i = 0; i < 6; ++i) check_two_descriptor_requests(device.queue(), size + i);
        if (size >= 4) pattern::write_and_verify(device.queue(), size, 4096, size);
    }
    print("sizes 2 to ", largest, "\n");
}

// What a driver never does, of a running device whose doorbell nobody has written to yet: reads of
// every width, and stores beside the doorbell itself.
void run_doorbell_read() {
    Device device{virtio::choose_function()};
    device.start({.completion = Completion::polling});
    const uint64_t doorbell = device.transport.notify_address(0);
    mmio_read<uint8_t>(doorbell);
    mmio_read<uint16_t>(doorbell);
    mmio_read<uint32_t>(doorbell);
    mmio_read<uint32_t>(doorbell + 0xffc);
    mmio_write<uint32_t>(doorbell + 0xffc, 0);
    pattern::write_and_verify(device.queue(), 0, 4096, 1);
}

constexpr Scenario scenarios[] = {
    {"queue-registers", run_queue_registers},
    {"bad-queue-address", run_bad_queue_address},
    {"size-limits", run_size_limits},
    {"doorbell-read", run_doorbell_read},
};

}  // namespace

constexpr ScenarioList queue_setup_scenarios{scenarios};

}  // namespace probe
