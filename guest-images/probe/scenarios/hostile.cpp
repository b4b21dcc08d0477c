// Descriptors that no driver writes. The device may fail the request or ask for a reset; the
// machine lives, and after a reset the device works.
#include "guest-images/probe/block.hpp"
#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Device;
using block::Queue;
using block::RequestType;
using block::Status;
using virtio::Descriptor;
namespace descriptor = virtio::descriptor;

constexpr uint16_t queue_size = 16;
constexpr uint32_t buffer_size = 4096;
constexpr uint64_t outside_ram = 1ULL << 40;
constexpr uint64_t pci_hole = 0xdff00000;

// A good read request in descriptors 0, 1 and 2 for each case to spoil, and a table for indirect
// ones.
struct Chain {
    Queue& queue;
    Descriptor& header;
    Descriptor& payload;
    Descriptor& status;
    Descriptor* table;

    void make_indirect(uint32_t length) const {
        for (uint16_t i = 0; i < 3; ++i) table[i] = queue.ring.descriptors[i];
        header = {address_of(table), length, descriptor::indirect, 0};
    }
};

void publish(const Chain& chain) {
    chain.queue.ring.publish(0);
}

uint64_t last_page_of_ram() {
    uint64_t end = 0;
    for (const MemoryRange& range : boot_record().memory_map) {
        if (range.type == MemoryType::ram && range.end() > end) end = range.end();
    }
    return end - 4096;
}

struct Case {
    Text name;
    void (*run)(const Chain& chain) = nullptr;  // spoils and publishes
};

constexpr uint16_t next_and_written = descriptor::next | descriptor::device_writes;

constexpr Case cases[] = {
    {"loop",
     [](const Chain& c) {
         c.payload.next = 0;
         publish(c);
     }},
    {"loop onto itself",
     [](const Chain& c) {
         c.header.next = 0;
         publish(c);
     }},
    {"next out of range",
     [](const Chain& c) {
         c.payload.next = queue_size;
         publish(c);
     }},
    {"next far out of range",
     [](const Chain& c) {
         c.header.next = 0xffff;
         publish(c);
     }},
    {"payload outside RAM",
     [](const Chain& c) {
         c.payload.address = outside_ram;
         publish(c);
     }},
    {"header outside RAM",
     [](const Chain& c) {
         c.header.address = outside_ram;
         publish(c);
     }},
    {"status outside RAM",
     [](const Chain& c) {
         c.status.address = outside_ram;
         publish(c);
     }},
    {"payload in the PCI hole",
     [](const Chain& c) {
         c.payload.address = pci_hole;
         publish(c);
     }},
    {"payload runs past the end of RAM",
     [](const Chain& c) {
         c.payload.address = last_page_of_ram() + 4095;
         publish(c);
     }},
    {"address wraps",
     [](const Chain& c) {
         c.payload.address = ~0ULL - 255;
         publish(c);
     }},
    {"header wraps",
     [](const Chain& c) {
         c.header.address = ~0ULL - 7;
         publish(c);
     }},
    {"length 0",
     [](const Chain& c) {
         c.payload.length = 0;
         publish(c);
     }},
    {"header length 0",
     [](const Chain& c) {
         c.header.length = 0;
         publish(c);
     }},
    {"status length 0",
     [](const Chain& c) {
         c.status.length = 0;
         publish(c);
     }},
    {"length 4 GiB",
     [](const Chain& c) {
         c.payload.length = 0xffffffff;
         publish(c);
     }},
    {"header too short",
     [](const Chain& c) {
         c.header.length = 8;
         publish(c);
     }},
    {"head out of range", [](const Chain& c) { c.queue.ring.publish(queue_size); }},
    {"head far out of range", [](const Chain& c) { c.queue.ring.publish(0xffff); }},
    {"written before read",
     [](const Chain& c) {
         c.header.flags = next_and_written;
         c.payload.flags = descriptor::next;
         publish(c);
     }},
    {"no status byte",
     [](const Chain& c) {
         c.payload.flags = 0;
         publish(c);
     }},
    {"no header",
     [](const Chain& c) {
         c.header.flags = next_and_written;
         publish(c);
     }},
    {"header alone",
     [](const Chain& c) {
         c.header.flags = 0;
         publish(c);
     }},
    {"available index jumps",
     [](const Chain& c) {
         c.queue.ring.publish(0);
         c.queue.ring.store_available_index(queue_size + 1);
     }},
    {"available index jumps far",
     [](const Chain& c) {
         c.queue.ring.publish(0);
         c.queue.ring.store_available_index(0xffff);
     }},
};

constexpr uint32_t whole_table = 3 * sizeof(Descriptor);

constexpr Case indirect_cases[] = {
    {"nested indirect",
     [](const Chain& c) {
         c.make_indirect(whole_table);
         c.table[1] = {address_of(c.table + 8), whole_table, descriptor::indirect, 0};
         publish(c);
     }},
    {"table length no multiple of 16",
     [](const Chain& c) {
         c.make_indirect(40);
         publish(c);
     }},
    {"table length 0",
     [](const Chain& c) {
         c.make_indirect(0);
         publish(c);
     }},
    {"table of 4 GiB",
     [](const Chain& c) {
         c.make_indirect(0xfffffff0);
         publish(c);
     }},
    {"table outside RAM",
     [](const Chain& c) {
         c.make_indirect(whole_table);
         c.header.address = outside_ram;
         publish(c);
     }},
    {"table wraps",
     [](const Chain& c) {
         c.make_indirect(whole_table);
         c.header.address = ~0ULL - 15;
         publish(c);
     }},
    {"table that loops",
     [](const Chain& c) {
         c.make_indirect(whole_table);
         c.table[1].next = 0;
         publish(c);
     }},
    {"table whose next is out of range",
     [](const Chain& c) {
         c.make_indirect(whole_table);
         c.table[1].next = 3;
         publish(c);
     }},
    {"indirect with next",
     [](const Chain& c) {
         c.make_indirect(whole_table);
         c.header.flags = descriptor::indirect | descriptor::next;
         c.header.next = 1;
         publish(c);
     }},
};

Chain prepare_chain(Queue& queue) {
    block::RequestSlot& slot = queue.slot(0);
    slot.header = {RequestType::read, 0, 0};
    slot.status = Status::untouched;
    Descriptor* entries = queue.ring.descriptors;
    entries[0] = {address_of(&slot.header), sizeof(slot.header), descriptor::next, 1};
    entries[1] = {address_of(allocate(buffer_size)), buffer_size, next_and_written, 2};
    entries[2] = {address_of(&slot.status), 1, descriptor::device_writes, 0};
    return {queue, entries[0], entries[1], entries[2], allocate_array<Descriptor>(32)};
}

void run_case(Device& device, const Case& hostile, uint64_t features) {
    device.start({.wanted_features = features, .queue_size = queue_size});
    Queue& queue = device.queue();
    hostile.run(prepare_chain(queue));
    queue.kick_always();
    const auto needs_reset = [&] {
        return (device.transport.device_status() & virtio::status::needs_reset) != 0;
    };
    const bool is_answered =
        spin_until(3_s, [&] { return queue.ring.has_used() || needs_reset(); });
    CHECK(is_answered, hostile.name, ": neither an error nor a request for a reset");
    if (needs_reset()) {
        print(hostile.name, ": needs reset\n");
    } else {
        print(hostile.name, ": completed, status ", static_cast<unsigned>(queue.slot(0).status),
              "\n");
    }
    device.start({});
    pattern::write_and_verify(device.queue(), 0, 4096, static_cast<uint32_t>(hostile.name.size()));
}

void run_hostile_descriptors() {
    Device device{virtio::choose_function()};
    for (const Case& hostile : cases) run_case(device, hostile, 0);
    const uint64_t indirect = virtio::feature::indirect_desc;
    const Case unnegotiated = {"indirect without the feature", [](const Chain& c) {
                                   c.make_indirect(whole_table);
                                   publish(c);
                               }};
    run_case(device, unnegotiated, 0);
    CHECK((device.transport.device_features() & indirect) != 0, "INDIRECT_DESC is not offered");
    for (const Case& hostile : indirect_cases) run_case(device, hostile, indirect);
}

constexpr Scenario scenarios[] = {
    {"hostile-descriptors", run_hostile_descriptors},
};

}  // namespace

constexpr ScenarioList hostile_scenarios{scenarios};

}  // namespace probe
